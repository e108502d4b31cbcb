from services.generator.servers.health import Health


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def health(clock: Clock) -> Health:
    return Health(failures=2, rest=5, clock=clock)


def fail(health: Health) -> None:
    health.asked()
    health.failed()
    health.left()


def test_failures_in_a_row_let_a_server_rest_and_a_success_between_them_does_not() -> None:
    this = health(Clock())
    fail(this)
    assert this.may_be_asked
    this.well()
    fail(this)
    assert this.may_be_asked
    fail(this)
    assert not this.may_be_asked
    assert this.rests == 5


def test_after_its_rest_one_request_tries_it_and_decides() -> None:
    clock = Clock()
    this = health(clock)
    fail(this)
    fail(this)
    clock.now = 5
    assert this.may_be_asked
    this.asked()
    assert not this.may_be_asked
    assert this.rests == 0
    this.left()  # the caller went away before anything was known
    assert this.may_be_asked
    this.asked()
    this.failed()
    assert this.rests == 10
    clock.now = 15
    this.asked()
    this.well()
    assert this.may_be_asked
    fail(this)
    assert this.may_be_asked


def test_many_answers_that_break_off_at_once_are_one_failure() -> None:
    clock = Clock()
    this = health(clock)
    for _ in range(100):
        this.failed()
    assert this.rests == 5


def test_a_rest_is_a_minute_at_most() -> None:
    clock = Clock()
    this = health(clock)
    for _ in range(100):
        this.failed()
        clock.now += this.rests
    this.failed()
    assert this.rests == 60
