"""The error after which a task is not begun again."""


class AirflowFailException(Exception):
    pass
