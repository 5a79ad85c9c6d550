"""Studio in a real Chromium against a real server on real bags (spec 000 lines 33-41 and 73-77)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

from playwright.sync_api import Browser, BrowserContext, expect
from studio_browser import Hand, StudioServer, chromium, open_browser, person

from apprentice_core.cell import EpisodeRequest, ResetRequest
from apprentice_core.images import decode_png
from apprentice_store.bag_reader import EpisodeReader
from apprentice_store.bag_sink import BagSink
from apprentice_store.frames import EpisodeFrames
from apprentice_store.store import Store
from apprentice_store.testing import make_episode

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium: install one (apt-get install chromium), or name one in $APPRENTICE_CHROMIUM"
)
STEPS = 80
FRAMES = STEPS + 1
HOSTILE = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>"


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """One episode of the simulated cell, and four of random numbers: ids in that order."""
    from apprentice_sim.sim_cell import SimCell

    store = Store(tmp_path_factory.mktemp("studio") / "bags")
    cell = SimCell("sawyer_lift", "lift", 1, sink=BagSink(store), cameras=["basket_front_left"])
    ref = cell.run(EpisodeRequest("lift", "expert", ResetRequest(seed=1), steps=STEPS, tags=("demo",)))
    cell.close()
    made = [make_episode(store, STEPS, seed=i, success=i % 2 == 0).episode_id for i in range(4)]
    store.tag(made[3], HOSTILE, True, "somebody")
    store.catalogue.add_reward_sequence(made[3], "lift", np.linspace(0, 1, FRAMES), HOSTILE)
    store.close()
    return store.folder, [ref.episode_id, *made]


@pytest.fixture(scope="module")
def studio(episodes: tuple[Path, list[str]]) -> Iterator[StudioServer]:
    server = StudioServer(episodes[0])
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture
def window(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A person of a name of her own in each test, so that no test finds another's sketches."""
    context = person(browser, request.node.name[:60], mode="query")
    yield context
    context.close()


def name_of(request: pytest.FixtureRequest) -> str:
    return request.node.name[:60]


CURVE = [(0, 0.05), (20, 0.1), (40, 0.6), (50, 0.55), (66, 0.9), (STEPS, 0.97)]


def expected() -> np.ndarray:
    return np.interp(np.arange(FRAMES), *zip(*CURVE, strict=True))


def test_a_drawn_curve_is_saved_and_is_equal_frame_by_frame_after_a_reload(studio, window, episodes, request):
    episode, user = episodes[1][0], name_of(request)
    hand = Hand(window.new_page(), studio.url, episode)
    hand.draw(CURVE)  # six pointer samples over 81 frames
    expect(hand.page.get_by_text(f"all {FRAMES} frames drawn")).to_be_visible()
    hand.save()
    saved = studio.sketch(episode, "lift", user)
    assert saved is not None and np.abs(np.array(saved) - expected()).max() < 0.02
    assert np.array_equal(np.float32(saved), saved)

    hand.page.reload()
    hand.ready()
    # One frame is changed and the rest is sent as the page holds it: what was saved, bit by bit.
    with hand.page.expect_request("**/draft") as sent:
        hand.press("Home", "5")
    assert sent.value.post_data_json["values"][1:] == saved[1:]
    assert sent.value.post_data_json["values"][0] == pytest.approx(0.5)
    hand.press("End")
    assert hand.readout() == f"frame {STEPS} of {STEPS} · {saved[-1]:.2f}"
    assert not hand.errors


def test_the_picture_is_the_bags_frame_under_the_cursor(studio, window, episodes):
    folder, (episode, *_) = episodes
    hand = Hand(window.new_page(), studio.url, episode)
    store = Store(folder)
    frames, made = (EpisodeFrames(EpisodeReader(store.path(e))) for e in episodes[1][:2])
    store.close()
    look = """async ([camera, step]) => {
        const canvas = document.querySelector(`canvas[aria-label="camera ${camera}"]`);
        while (canvas.dataset.step !== String(step)) await new Promise((r) => setTimeout(r, 10));
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    }"""
    decode = """async ([path]) => {
        const { decodeDepth } = await import("/js/depth_png.js");
        return [...(await decodeDepth(new Uint8Array(await (await fetch(path)).arrayBuffer()))).depth];
    }"""
    for step in (0, 57, STEPS):
        hand.page.mouse.move(*hand.at(step, 0.3))
        shown = np.array(hand.page.evaluate(look, ["basket_front_left", step]), np.uint8)
        recorded = decode_png(frames.png("basket_front_left", step))
        assert np.array_equal(shown.reshape(*recorded.shape[:2], 4)[..., :3], recorded), step
    depth = hand.page.evaluate(decode, [f"/api/episodes/{episodes[1][1]}/frames/depth/57.png"])
    assert np.array_equal(depth, decode_png(made.png("depth", 57)).ravel())
    assert not hand.errors


def test_the_band_goes_from_the_threshold_to_1_and_all_cameras_show_one_instant(studio, window, episodes):
    hand = Hand(window.new_page(), studio.url, episodes[1][1])
    assert studio.get("/api/session")["success_threshold"] == 0.85
    box = hand.page.locator("canvas.plot").bounding_box()

    def colour(value: float) -> list[int]:
        x, y = hand.at(61.5, value)
        get = "(c, [x, y]) => [...c.getContext('2d').getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data]"
        return hand.page.locator("canvas.plot").evaluate(get, [x - box["x"], y - box["y"]])

    hand.page.wait_for_function("() => document.querySelector('canvas.plot').width > 0")
    band, below = colour(0.93), colour(0.6)
    assert band != below and band[1] > max(band[0], band[2]), "green"
    assert [colour(v) for v in (0.87, 0.98)] == [band] * 2 and [colour(v) for v in (0.1, 0.83)] == [below] * 2
    hand.page.mouse.move(*hand.at(57, 0.3))
    shown = "[...document.querySelectorAll('.camera canvas')].map((c) => c.dataset.step)"
    hand.page.wait_for_function(f"() => {shown}.length === 2 && {shown}.every((s) => s === '57')")
    assert not hand.errors


def test_a_person_sketches_more_than_300_frames_a_minute(studio, window, episodes, request, record_property):
    page, user = window.new_page(), name_of(request)
    begun = time.monotonic()
    for episode in episodes[1][:2]:
        hand = Hand(page, studio.url, episode)
        # The pace of a hand: 2 s along the curve.
        hand.draw([(f, float(expected()[f])) for f in range(0, FRAMES, 4)], pause=0.1)
        hand.save()
    rate = 2 * FRAMES / (time.monotonic() - begun) * 60
    counted = studio.get(f"/api/throughput?user={user}")
    shown = int(page.inner_text(".pace").split()[0])
    record_property("frames_per_minute", {"wall": rate, "server": counted["frames_per_minute"], "page": shown})
    print(f"\nframes per minute: {rate:.0f} with loading, server {counted['frames_per_minute']:.0f}, page {shown}")
    assert rate >= 300 and counted["frames_per_minute"] >= 300 and shown >= 300
    assert counted["frames"] == 2 * FRAMES


def test_undo_redo_erase_and_keys_alone(studio, window, episodes, request):
    episode, user = episodes[1][1], name_of(request)
    hand = Hand(window.new_page(), studio.url, episode)
    open_frames = hand.page.locator(".readout >> nth=1")
    hand.draw([(0, 0.2), (STEPS, 0.8)])
    hand.draw([(40, 0.5), (60, 0.5)], button="right")
    expect(open_frames).to_have_text(f"21 of {FRAMES} frames open")
    hand.press("u")
    expect(open_frames).to_have_text(f"all {FRAMES} frames drawn")
    hand.press("r")
    expect(open_frames).to_have_text(f"21 of {FRAMES} frames open")
    hand.press("e")
    hand.draw([(0, 0.5), (9, 0.5)])
    expect(open_frames).to_have_text(f"31 of {FRAMES} frames open")
    hand.press("e", "Shift+Delete")
    expect(open_frames).to_have_text(f"{FRAMES} of {FRAMES} frames open")

    # No pointer: a pen that follows the cursor, values by digit, a gap filled.
    hand.press("Home", "0", "d", "ArrowUp", "ArrowUp", *["Shift+ArrowRight"] * 3, "d")
    hand.press(*["Shift+ArrowRight"] * 4, "t", "ArrowRight", "Delete", "End", "9", "f")
    expect(open_frames).to_have_text(f"all {FRAMES} frames drawn")
    hand.save()
    saved = studio.sketch(episode, "lift", user)
    assert saved is not None
    assert saved[0] == pytest.approx(0.1) and saved[30] == pytest.approx(0.1) and saved[70] == 1 and saved[80] == pytest.approx(0.9)
    assert saved[50] == pytest.approx(0.1 + 0.9 / 2, abs=1e-6)
    hand.press("?")
    expect(hand.page.get_by_role("dialog")).to_be_visible()
    assert not hand.errors


def test_saving_is_refused_while_frames_are_open_and_filling_is_told(studio, window, episodes, request):
    episode, user = episodes[1][1], name_of(request)
    hand = Hand(window.new_page(), studio.url, episode)
    hand.draw([(0, 0.0), (30, 0.3)])
    hand.draw([(60, 0.6), (STEPS, 0.6)])
    hand.press("Enter")
    question = hand.page.locator(".question")
    expect(question).to_contain_text("29 frames have no value yet (31–59)")
    assert studio.sketch(episode, "lift", user) is None
    question.get_by_role("button", name="Fill by interpolation").click()
    expect(hand.page.locator(".notice.warn")).to_contain_text("frames 31–59")
    with hand.page.expect_request("**/sketch") as sent:
        hand.save()
    assert sent.value.post_data_json["filled"] == [[31, 59]]
    values = studio.sketch(episode, "lift", user)
    assert values is not None and values[45] == pytest.approx(0.45, abs=0.02)


def test_two_windows_of_one_person_never_overwrite_each_other_unseen(studio, browser, window, episodes, request):
    episode, user = episodes[1][2], name_of(request)
    other = person(browser, user, mode="query")
    first, second = (Hand(c.new_page(), studio.url, episode) for c in (window, other))
    first.draw([(0, 0.1), (STEPS, 0.1)])
    first.draft_is("saved")
    second.draw([(0, 0.9), (STEPS, 0.9)])
    second.draft_is("conflict")
    second.press("Enter")
    expect(second.page.locator(".notice.warn")).to_contain_text("choose first")
    second.page.get_by_role("button", name="Keep mine").click()
    second.draft_is("saved")

    first.save()  # its draft was overtaken, its sketch is the first
    second.press("Home", "8", "Enter")
    question = second.page.locator(".question")
    expect(question).to_contain_text("saved another sketch of this episode meanwhile")
    assert studio.sketch(episode, "lift", user) == pytest.approx([0.1] * FRAMES, abs=0.02)
    question.get_by_role("button", name="Save mine as the newer one").click()
    second.page.wait_for_selector(".notice.good:has-text('Saved')")
    saved = studio.sketch(episode, "lift", user)
    assert saved is not None and saved[0] == pytest.approx(0.8) and saved[1] == pytest.approx(0.9, abs=0.02)

    first.press("End", "3", "Enter")
    first.page.locator(".question").get_by_role("button", name="Take the other one").click()
    assert first.readout().endswith(f"{saved[-1]:.2f}")
    other.close()


def test_a_server_that_dies_in_the_middle_of_a_stroke_loses_nothing(studio, window, episodes, request):
    episode, user = episodes[1][3], name_of(request)
    hand = Hand(window.new_page(), studio.url, episode)
    hand.draw([(0, 0.1), (40, 0.5)])
    hand.draft_is("saved")
    hand.draw([(41, 0.5), (50, 0.55)], release=False)
    with studio.away():
        hand.page.mouse.move(*hand.at(60, 0.7))
        hand.draft_is("away")
        hand.page.mouse.up()
        hand.press("Shift+ArrowLeft")
    hand.draft_is("saved")
    draft = studio.get(f"/api/episodes/{episode}/curves?task=lift&user={user}")["draft"]["values"]
    assert [v is not None for v in draft] == [f <= 60 for f in range(FRAMES)]

    # Now the browser goes too, before the server comes back: the rest is in the browser's own storage.
    with studio.away():
        hand.draw([(61, 0.7), (STEPS, 1.0)], release=False)
        hand.page.close()
    again = Hand(window.new_page(), studio.url, episode)
    expect(again.page.get_by_text(f"all {FRAMES} frames drawn")).to_be_visible()
    again.save()
    saved = studio.sketch(episode, "lift", user)
    assert saved is not None and saved[:61] == draft[:61] and saved[STEPS] == pytest.approx(1, abs=0.02)


def test_text_from_the_store_is_never_html(studio, window, episodes):
    episode = episodes[1][4]
    page = window.new_page()
    page.goto(f"{studio.url}/#/browse?q=steps = {STEPS}")
    expect(page.locator(".tag-name", has_text="onerror")).to_have_text(HOSTILE)
    hand = Hand(page, studio.url, episode)
    expect(page.locator(".legend .name", has_text="onerror")).to_have_text(HOSTILE)
    assert page.evaluate("window.pwned") is None and page.locator("img[src=x]").count() == 0
    assert not hand.errors


def test_the_queue_leads_from_one_episode_to_the_next(studio, window, episodes):
    page = window.new_page()
    page.goto(f"{studio.url}/#/sketch?task=lift")
    page.get_by_label("Query over episodes").fill("success = ")
    page.keyboard.press("Enter")
    expect(page.locator(".query-error")).to_contain_text("expected a value")
    page.get_by_label("Query over episodes").fill("kind = 'episode'")
    page.keyboard.press("Enter")
    expect(page.locator(".queue li")).to_have_count(5)
    page.locator(".queue a").first.click()
    page.wait_for_selector("canvas.plot")
    seen = {page.url}
    for _ in range(4):
        before = page.url
        page.wait_for_selector(".queue li.current")
        page.keyboard.press("n")
        page.wait_for_url(lambda url, before=before: url != before)
        seen.add(page.url)
    assert len(seen) == 5


def test_browse_finds_names_and_tags(studio, window, episodes, request):
    page = window.new_page()
    page.goto(studio.url)
    expect(page.locator("table.episodes tbody tr")).to_have_count(5)
    expect(page.locator(".actor-bar")).to_have_count(5)
    page.get_by_label("Query over episodes").fill("nonsense = 1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".query-error")).to_contain_text("no column 'nonsense'")
    page.get_by_label("Query over episodes").fill("success = true and tag = 'made'")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("table.episodes tbody tr")).to_have_count(2)
    page.on("dialog", lambda dialog: dialog.accept("good ones"))
    page.get_by_role("button", name="Save …").click()
    expect(page.get_by_label("Saved queries")).to_have_value("good ones")
    row = page.locator(f"tr[data-id='{episodes[1][1]}']")
    row.get_by_label("New tag").fill("kept")
    page.keyboard.press("Enter")
    expect(row.locator(".tag-name", has_text="kept")).to_be_visible()
    assert "kept" in studio.get(f"/api/episodes/{episodes[1][1]}")["tags"]


def test_a_person_judges_an_episode(studio, window, episodes, request):
    episode = episodes[1][2]
    page = window.new_page()
    page.goto(f"{studio.url}/#/judge/{episode}")
    page.wait_for_selector("canvas.plot")
    page.get_by_label("Note", exact=True).fill("slipped at the end")
    page.locator("canvas.plot").focus()
    page.keyboard.press("f")
    expect(page.locator(".said")).to_contain_text("slipped at the end")
    page.get_by_label("first step of the range").fill("10")
    page.get_by_label("last step of the range").fill("20")
    page.get_by_label("reward of the range").fill("-0.5")
    page.get_by_role("button", name="Override").click()
    expect(page.locator(".said")).to_contain_text("reward -0.5 over steps 10–20")
    assert studio.get(f"/api/episodes/{episode}")["success"] is False
    page.get_by_role("button", name="Unclear").click()
    expect(page.locator(".sketch-head")).to_contain_text("not judged")
    assert studio.get(f"/api/episodes/{episode}")["success"] is None


def test_the_pictures_in_sight_come_in_one_request(studio, window, episodes):
    page, asked = window.new_page(), []
    page.on("request", lambda request: asked.append(request.url) if "/api/thumbnails" in request.url else None)
    page.goto(f"{studio.url}/#/browse")
    page.wait_for_function(
        "(n) => [...document.querySelectorAll('.episodes img.thumbnail')].filter((i) => i.complete && i.naturalWidth).length === n",
        arg=len(episodes[1]),
    )
    assert len(asked) == 1 and all(i in asked[0] for i in episodes[1])
    expect(page.locator(".actor-bar")).to_have_count(len(episodes[1]))


def test_a_blind_evaluation_names_its_policies_only_at_the_end(studio, window, episodes):
    page = window.new_page()
    page.goto(f"{studio.url}/#/evaluations")
    page.get_by_label("Policies").fill("secret_one\nsecret_two")
    page.get_by_label("hard (10)").uncheck()
    page.get_by_label("unseen (10)").uncheck()
    page.get_by_label("Episodes of each set").fill("1")
    page.get_by_role("button", name="Plan").click()
    for _ in range(2):
        expect(page.locator(".letter")).to_be_visible()
        assert "secret" not in page.inner_text("main")
        expect(page.locator(".placing svg")).to_be_visible()
        expect(page.locator(".placing img")).to_have_js_property("complete", True)
        assert page.locator(".placing img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
        done = page.locator("h2").first.inner_text()
        page.keyboard.press("s")
        expect(page.locator("h2").first).not_to_have_text(done)
    assert "secret" not in page.inner_text("main")
    page.get_by_role("button", name="Reveal them").click()
    expect(page.locator(".evaluation-report")).to_contain_text("secret_two")
    expect(page.locator(".evaluation-report tbody tr").first).to_contain_text("100 % (1/1, 21 % to 100 %)")


UNNAMED = """[...document.querySelectorAll("button, input, select, textarea, img, svg[role]")]
    .filter((e) => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim() || e.title || e.alt !== undefined))
    .map((e) => e.outerHTML)"""


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (420, 900)])
def test_pages_fit_the_window(studio, browser, episodes, size):
    context = person(browser, "window", size, mode="query")
    page = context.new_page()
    for route in ("browse", "stats", f"sketch/{episodes[1][0]}?task=lift", f"judge/{episodes[1][0]}", "evaluations", "watch"):
        page.goto(f"{studio.url}/#/{route}")
        page.wait_for_timeout(150)
        page.wait_for_selector("main > *")
        assert page.evaluate("[document.documentElement, document.querySelector('main')].every((e) => e.scrollWidth <= innerWidth)"), route
        assert page.evaluate(UNNAMED) == [], route
        if "sketch" in route and size[0] >= 1280:
            page.wait_for_selector("canvas.plot")
            bottom = page.evaluate("document.querySelector('.toolbar').getBoundingClientRect().bottom")
            assert bottom <= size[1], "tools are out of sight"
    context.close()
