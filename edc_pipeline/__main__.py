from edc_pipeline.cli import main

main()
