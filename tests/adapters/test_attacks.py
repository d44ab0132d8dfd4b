"""Attacks over real HTTP: each does harm where one thing is missing, and none on a site of ours."""

from __future__ import annotations

import pytest

from tests.adapters import attacks, weak
from tests.adapters.attacks import Attack
from tests.adapters.site import Site
from tests.adapters.weak import Weak, careless
from tests.adapters.weak_server import served

#: Each attack, and a receiver on which it does harm.
ATTACKS: dict[Attack, Weak] = {
    attacks.forge: careless("signature"),
    attacks.forge_without_signature: careless("signature"),
    attacks.tamper: careless("signature"),
    attacks.truncate: careless("whole signature"),
    attacks.come_too_late: careless("expiry"),
    attacks.use_an_old_attempt: careless("attempt"),
    attacks.do_more_than_allowed: careless("action"),
    attacks.name_another_job: careless("job"),
    attacks.come_from_another_app: careless("namespace"),
    attacks.replay: careless("outcome"),
    attacks.come_at_once: careless("guard"),
    attacks.send_much: careless("size"),
    attacks.send_much_in_chunks: careless("size"),
    attacks.send_without_end: careless("size"),
    attacks.go_around: careless("path"),
    attacks.have_a_link_followed: careless("method"),
    attacks.disguise_json: careless("type"),
    attacks.be_somebody_by_header: careless("user"),
    attacks.decide_for_another: weak.has_no_key,
    attacks.be_no_json: weak.has_no_key,
    attacks.write_a_script: weak.writes_what_it_has,
    attacks.break_a_header: weak.thanks_in_a_header,
    attacks.be_the_provider: weak.asks_no_provider,
    attacks.repeat_the_provider: weak.has_no_window,
    attacks.change_what_the_provider_says: weak.signs_only_the_reference,
}
#: Under ASGI Django itself puts all of a body on the disk, before it calls a view.
NOT_OURS = {("django-asgi", attacks.send_without_end)}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_harm_is_done_where_one_thing_is_missing(flask_site: Site, attack: Attack) -> None:
    with served(ATTACKS[attack], flask_site.shop) as base:
        assert attack(Site("weak", base, flask_site.shop, flask_site.process))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_harm_is_done(site: Site, attack: Attack) -> None:
    if (site.name, attack) not in NOT_OURS:
        assert not attack(site)


CARELESS = [attack for attack, receive in ATTACKS.items() if receive.__name__.startswith("lacks_")]


@pytest.mark.parametrize("attack", CARELESS, ids=lambda attack: attack.__name__)
def test_the_harm_comes_of_what_is_missing(flask_site: Site, attack: Attack) -> None:
    with served(careless("nothing"), flask_site.shop) as base:
        assert not attack(Site("weak", base, flask_site.shop, flask_site.process))


def test_forged_calls_leave_no_line_in_the_history(site: Site) -> None:
    job_id = site.shop.started()
    before = site.shop.get(job_id)
    site.post(f"{site.shop.token(job_id)[:-1]}", "eve's")
    site.post("x" * 5000, "eve's")
    assert site.shop.get(job_id) == before
