from app.kafka.embedded import properties


def test_values_are_written_so_that_java_reads_them_back() -> None:
    settings = {"path": "C:\\kafka", "b": "x=y", "a": "two\nlines\tand a tab"}

    assert "a=two\\nlines\\tand a tab\nb=x=y\npath=C:\\\\kafka\n" == properties.text(settings)
