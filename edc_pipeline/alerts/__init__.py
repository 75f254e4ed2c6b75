"""What is told to a person who does not look. Knows no Dagster.

    what is wrong now (troubles) ─► what of it is told now (notices) ─► apprise (send)

`troubles` and `notices` are pure rules; whoever calls keeps `notices.Memory` between two looks.
"""
