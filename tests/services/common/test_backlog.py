from services.common.tasks import Backlog

ROW = ("floor.work", "a")


def test_a_row_that_goes_on_waiting_is_sent_ever_more_rarely() -> None:
    backlog = Backlog()
    sent = [number for number in range(160) if backlog.due([ROW])]
    assert sent == [0, 1, 3, 7, 15, 31, 63, 95, 127, 159]


def test_a_row_that_waits_again_after_somebody_had_it_is_sent_at_once() -> None:
    backlog = Backlog()
    for _ in range(10):
        backlog.due([ROW])
    assert not backlog.due([ROW])
    assert not backlog.due([])
    assert backlog.due([ROW]) == [ROW]


def test_after_a_sweep_that_failed_all_is_sent_again() -> None:
    backlog = Backlog()
    assert backlog.due([ROW]) == backlog.due([ROW]) == [ROW]
    assert not backlog.due([ROW])
    backlog.forget()
    assert backlog.due([ROW]) == [ROW]
