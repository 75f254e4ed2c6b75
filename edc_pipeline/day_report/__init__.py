"""What a daily file looks like to somebody who is about to trade on it. Knows no Dagster.

    daily file ─examine─► figures ─► pictures (SVG)         what came when, how late, at what price
                       ├► sane_prices                       prices and sizes that cannot be meant
                       └► agreement                         do the vendors say the same?
    former files ───────► usual                             as many rows as on other such days?
    the three files of a day ─► the_day                     the page of that day

Each file is read once, block by block, so memory does not grow with its rows.
"""
