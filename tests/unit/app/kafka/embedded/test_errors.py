import subprocess
import sys

from app.kafka.embedded.errors import EmbeddedKafkaError


def test_an_error_is_its_fact_and_its_remedy() -> None:
    error = EmbeddedKafkaError("The port is taken.", remedy="Take another.")

    assert ("The port is taken. Take another.", 3) == (str(error), error.exit_code)


def test_without_the_extra_the_commands_that_need_it_say_so() -> None:
    program = "import sys; sys.modules['psutil'] = None; from app.cli.main import main; main(['kafka', 'topics'])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (
        "error: The embedded Kafka and Kafka's own tools are not installed here: they are the extra dev-broker. "
        "pip install 'headgate[dev-broker]', or use a cluster and its tools elsewhere.\n"
    ) == done.stderr
    assert 3 == done.returncode
