"""`import hypnograph` is instant, and every public name is there."""

import typing

import hypnograph


def test_every_public_name_can_be_had_and_is_documented() -> None:
    for name in hypnograph.__all__:
        assert getattr(hypnograph, name).__doc__, name


def test_the_names_for_people_and_for_the_import_are_the_same() -> None:
    assert set(hypnograph.__all__) == set(hypnograph._MODULE_OF)
    assert set(hypnograph.__all__) <= set(dir(hypnograph))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(hypnograph, "magic")


def test_the_package_is_typed() -> None:
    assert typing.get_type_hints(hypnograph.stage)
