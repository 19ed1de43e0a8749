class ImportedOracle:
    pass
