class CircuitBreaker:
    def __init__(self, after):
        pass
