"""What the demo shows of a queue."""

from emailsync.demonstration.observer import queue_line
from emailsync.domain.priority import Priority, QueueName


def account(priority: Priority, *, due_for_s: float, is_claimed: bool) -> dict[str, object]:
    return {"sync_priority": priority, "due_for_s": due_for_s, "is_claimed": is_claimed}


def test_the_longest_wait_is_that_of_an_account_of_the_queue_now() -> None:
    """The metric that tells it is renewed too rarely for a screen: it stood still."""
    accounts = [
        account(Priority.CRITICAL, due_for_s=1.5, is_claimed=True),
        account(Priority.HIGH, due_for_s=4.0, is_claimed=True),
        account(Priority.LOW, due_for_s=9.0, is_claimed=False),
    ]

    high = queue_line(QueueName.HIGH, [], accounts)
    normal = queue_line(QueueName.NORMAL, [], accounts)

    assert (high.longest_wait_s, high.running) == (4.0, 2)
    assert (normal.longest_wait_s, normal.running) == (0.0, 0)
