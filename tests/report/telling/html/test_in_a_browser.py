"""The page as people use it, in a browser without a screen: filters, sorting, cases, figures, and nothing that acts."""

import os
import shutil
import time
from contextlib import suppress

import pytest
from selenium import webdriver
from selenium.common.exceptions import SessionNotCreatedException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from backproof.report.telling.curves import Curves, Failure, Line
from backproof.report.telling.escape import block, code, text
from backproof.report.telling.html.page import CaseOnPage, RunRow, body_of, html_report
from backproof.report.telling.palette import looks

BROWSERS, DRIVER, REQUIRED = ("chromium", "google-chrome", "chrome"), "chromedriver", "BACKPROOF_REQUIRE_BROWSER"
BACKENDS = ["numpy", "torch", "mine"]
FAILS = "xor/two_four_one"
WRONG = "update of hidden.weight at [0, 3]"
SENTENCE = f"10 of 12 runs certified. First: {FAILS}: {WRONG}."
HOSTILE = "</script><script>hacked=1</script> \"><img src=x onerror='hacked=1'> '-hacked-' {{data}} <!--<script>"
SEEN = "[...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())"
WORDS = "one.innerText ?? one.textContent"
PATIENCE = 10  # seconds
STEPS = [0, 1, 10, 120, 999]


def curves(name: str, dtypes: list[str]) -> Curves:
    """Three lines a panel and dtype, of which one leaves the allowance and has no number in the end."""
    lines = []
    for dtype in dtypes:
        for at, backend in enumerate(BACKENDS):
            is_wrong = (backend, name, dtype) == ("torch", FAILS, "float64")
            shares = [0.5, 0.25, 0.75, 7.5, None] if is_wrong else [0.5] * 5
            values = {"loss": [8, 4, 2, 1, 0.001], "share": shares}
            lines += [Line(panel, backend, dtype, STEPS, numbers) for panel, numbers in values.items()]
            lines.append(Line("drift", f"{backend}-{BACKENDS[at - 1]}", dtype, STEPS, [0, 1e-16, 1e-15, 1e-14, 1e-9]))
    failures = [Failure("torch", "float64", 120, WRONG)] if name == FAILS else []
    return Curves(name, lines, failures)


def case(name: str, title: str, **dtypes: list[RunRow]) -> CaseOnPage:
    rows = [row._replace(dtype=dtype) for dtype, rows in dtypes.items() for row in rows]
    parts = [f"# {text(name)}", text(title), "![losses](f.svg)", "| a | b |\n|:-|:-|\n| differs 7.5 | wrong 1/8 |"]
    page = f"cases/{name.replace('/', '-')}.md"
    return CaseOnPage(name, title, rows, body_of("\n\n".join(parts)), curves(name, [*dtypes]), page)


def right(*shares: float) -> list[RunRow]:
    return [RunRow("", name, "certified", share, None, "") for name, share in zip(BACKENDS, shares, strict=True)]


def report() -> bytes:
    """Three cases, of which one differs in torch and one is none for it."""
    wrong = [row._replace(verdict="differs", share=7.5, step=120, message=WRONG) for row in right(0, 0, 0)]
    lacks = [row._replace(verdict="unsupported", share=None, message="no such optimizer") for row in right(0, 0, 0)]
    one, two, three = right(0.999, 0.5, 0.6), right(0.25, 0.3, 0.35), right(0.1, 0.2, 0.15)
    cases = [
        case("depth/relu_16", "A deep network", float64=two),
        case("mine", "A case of one's own", float32=[three[0], lacks[1], three[2]]),
        case(FAILS, "Exclusive or", float64=[one[0], wrong[1], one[2]], float32=one),
    ]
    link, long = "[the case](cases/xor-two_four_one.md)", "word " * 900
    overview = f"Beforehand.\n\n## What was compared\n\n{link}\n\n{long}\n\n## Environment\n\nNumPy"
    return html_report(SENTENCE, overview, cases, looks(BACKENDS))


def many() -> bytes:
    """More rows than are shown at once."""
    runs = [row._replace(dtype="float32") for row in right(0.5, 0.5, 0.5)]
    cases = [CaseOnPage(f"folder_{i % 3}/case_{i}", "", runs, "", None) for i in range(60)]
    failing = cases[4]._replace(rows=[RunRow("float64", "torch", "crash", None, None, "killed"), *runs])
    return html_report("Many.", "", [*cases[:4], failing, *cases[5:]], looks(BACKENDS))


def hostile() -> bytes:
    words = HOSTILE
    rows = [RunRow(words, words, words, 2.0, 3, words)]
    lines = [Line(panel, words, words, STEPS, [1, 2, 3, 4, 5]) for panel in ("loss", "share", "drift")]
    body = body_of(f"{text(words)} {code(words)}\n\n{block(words)}\n\n![{text(words)}](f.svg)\n\n{words}")
    one = CaseOnPage(words, words, rows, body, Curves(words, lines, [Failure(words, words, 3, words)]))
    return html_report(words, f"## {text(words)}\n\n{words}", [one], looks([words]))


def none() -> bytes:
    return html_report("Interrupted: 0 of 112 cases were finished.", "", [], {})


@pytest.fixture(scope="module")
def driver():
    """A browser without a screen; skip, or fail where one is required, if there is none."""
    driver = started()
    if driver is None:
        say = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        say(f"no browser to try the page in: {' or '.join(BROWSERS)} with a {DRIVER} of its version is not on the PATH")
    yield driver
    driver.quit()


def started() -> webdriver.Chrome | None:
    """Return the first browser that the driver on the PATH can start."""
    for browser in filter(None, map(shutil.which, BROWSERS if shutil.which(DRIVER) else ())):
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        with suppress(SessionNotCreatedException):
            return webdriver.Chrome(options, webdriver.ChromeService(shutil.which(DRIVER)))
    return None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for make in (report, many, hostile, none):
        (folder / f"{make.__name__}.html").write_bytes(make())
    return folder


class Page:
    """One page in the browser, asked by CSS selectors."""

    def __init__(self, driver, files):
        self.driver, self.files = driver, files

    def open(self, fragment: str = "", file: str = "report"):
        self.driver.get("about:blank")
        self.driver.get((self.files / f"{file}.html").as_uri() + fragment)
        return self

    def all(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        (found,) = self.all(selector)
        return found

    def words(self, selector: str) -> list[str]:
        """What one reads in each that is seen."""
        return [" ".join(words.split()) for words in self.run(f"{SEEN}.map((one) => {WORDS})", selector)]

    def run(self, program: str, *arguments):
        return self.driver.execute_script(f"return {program}", *arguments)

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def wait(self, selector: str) -> None:
        """Wait until there is one."""
        WebDriverWait(self.driver, PATIENCE).until(lambda _: self.all(selector))

    def shows(self, *headings: str) -> bool:
        """Tell whether these are the headings before long: the browser routes when it has time."""
        with suppress(TimeoutException):
            return WebDriverWait(self.driver, PATIENCE, 0.02).until(lambda _: self.words("h1") == [*headings])
        return False

    def tip(self, step: int) -> str:
        """Return what stands beside the pointer, once it is at this step."""
        told = f"step {step} "
        WebDriverWait(self.driver, PATIENCE, 0.02).until(lambda _: any(x.startswith(told) for x in self.words(".tip")))
        return next(words for words in self.words(".tip") if words.startswith(told))


@pytest.fixture
def page(driver, files):
    """The page, on a wide and light screen; no test leaves an error in the console."""
    page = Page(driver, files)
    screen(page, 1280)
    page.errors()
    yield page
    assert page.errors() == []


def screen(page: Page, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})


def rows(page: Page) -> list[str]:
    """The rows of the table of runs, without those of the folders, as case and dtype."""
    return [" ".join(words.split()[:2]) for words in page.words("#matrix .row")]


def test_what_is_not_certified_comes_first_and_stands_out(page):
    page.open()
    assert page.driver.title == "backproof report"
    assert page.shows(SENTENCE)
    assert page.words("#count") == ["12 runs of 3 cases"]
    assert rows(page) == [f"{FAILS} float64", f"{FAILS} float32", "mine float32", "depth/relu_16 float64"]
    assert page.words("#matrix .row td")[2:5] == ["✓ certified 0.99", "✗ differs at step 120 7.50", "✓ certified 0.60"]
    assert page.words("#matrix .why") == [f"torch {WRONG}", "torch no such optimizer"]
    assert page.words("#matrix .folder td")[:3] == ["✓ 2 of 2", "✗ 1 of 2", "✓ 2 of 2"]


@pytest.mark.parametrize(
    ("control", "value", "shown", "count"),
    [
        ("verdict", "differs", [f"{FAILS} float64"], 1),
        ("verdict", "certified", [f"{FAILS} float64", f"{FAILS} float32", "depth/relu_16 float64", "mine float32"], 10),
        ("folder", "depth", ["depth/relu_16 float64"], 3),
        ("folder", "(no folder)", ["mine float32"], 3),
        ("backend", "torch", [f"{FAILS} float64", f"{FAILS} float32", "mine float32", "depth/relu_16 float64"], 4),
        ("dtype", "float32", ["mine float32", f"{FAILS} float32"], 6),
        ("words", "OPTIMIZER no", ["mine float32"], 1),
        ("words", "exclusive numpy", [f"{FAILS} float64", f"{FAILS} float32"], 2),
        ("words", "nowhere", [], 0),
    ],
)
def test_filters(page, control, value, shown, count):
    page.open()
    page.one(f'#filters [name="{control}"]').send_keys(value)
    assert sorted(rows(page)) == sorted(shown)
    assert page.words("#count") == [f"{count} of 12 runs shown"]


def test_the_address_keeps_what_is_shown(page):
    page.open()
    page.one('[name="backend"]').send_keys("mine")
    page.one('[name="words"]').send_keys("certified 16 & + %")
    assert rows(page) == []
    page.one('[name="words"]').send_keys(Keys.BACKSPACE * 6)
    page.one('[data-sort="mine"]').click()
    kept = page.run("location.hash")
    page.open(kept)
    assert page.run("location.hash") == kept
    assert (rows(page), page.words("#count")) == (["depth/relu_16 float64"], ["1 of 12 runs shown"])
    page.one("#filters [type=reset]").click()
    page.wait("#matrix .row:nth-child(4)")
    assert len(rows(page)) == 4
    assert page.run("location.hash") == "#sort=mine"


def test_a_filter_by_backend_leaves_its_column(page):
    page.open("#backend=torch")
    assert page.words("#matrix thead th") == ["case", "dtype", "torch"]


def test_sorting(page):
    page.open()
    found = []
    for _ in range(3):
        page.one('[data-sort="numpy"]').click()
        found.append((page.one('th:has([data-sort="numpy"])').get_attribute("aria-sort"), rows(page)))
    up, down, none = found
    assert up == ("ascending", ["mine float32", "depth/relu_16 float64", f"{FAILS} float64", f"{FAILS} float32"])
    assert down == ("descending", [f"{FAILS} float64", f"{FAILS} float32", "depth/relu_16 float64", "mine float32"])
    assert none == (None, [f"{FAILS} float64", f"{FAILS} float32", "mine float32", "depth/relu_16 float64"])
    page.one('[data-sort="torch"]').click()
    page.one('[data-sort="torch"]').click()
    assert rows(page)[0] == f"{FAILS} float64"  # the worst
    page.one('[data-sort="case"]').send_keys(Keys.ENTER)
    assert rows(page)[0] == "depth/relu_16 float64"


def test_folders_that_are_certified_are_folded(page):
    page.open(file="many")
    assert page.words("#matrix .folder button") == ["folder_1", "folder_0", "folder_2"]
    assert len(rows(page)) == 21
    assert rows(page)[0] == "folder_1/case_4 float64"
    page.one('[data-folder="folder_1"]').click()
    assert rows(page) == []
    page.one("#fold").click()
    assert len(rows(page)) == 61
    page.one('[name="words"]').send_keys("case_59")
    assert len(rows(page)) == 1


def test_to_a_case_and_back(page):
    page.open("#dtype=float32")
    page.all("#matrix .row a")[1].click()
    assert page.shows(FAILS)
    assert page.driver.title == f"{FAILS} · backproof report"
    assert not page.one("#home").is_displayed()
    assert page.words("#case td .verdict") == ["✗ differs 7.5", "✗ wrong 1/8"]
    page.one("#case nav span a").click()
    assert page.shows("mine")
    page.driver.back()
    page.driver.back()
    assert page.shows(SENTENCE)
    assert rows(page) == ["mine float32", f"{FAILS} float32"]
    page.all("#matrix .row td")[1].click()  # beside the link
    assert page.shows("mine")


def test_links_of_the_overview(page):
    page.open()
    assert page.words("#runs > p")[0] == "Beforehand."
    assert page.words("#sections a") == ["Runs", "What was compared", "Environment"]
    page.all("#sections a")[2].click()
    assert page.run("scrollY") > 0
    page.driver.find_element(By.LINK_TEXT, "the case").click()
    assert page.shows(FAILS)
    assert page.run("location.hash") == f"#case={FAILS}"
    page.driver.back()
    assert page.shows(SENTENCE)


def test_an_address_of_no_case_is_the_table(page):
    assert page.open("#case=gone&sort=gone").shows(SENTENCE)


def test_a_figure_shows_the_values_under_the_pointer(page):
    page.open(f"#case={FAILS}")
    page.wait(".panel svg")
    assert page.words(".panel h4") == [
        "loss", "largest share of the rounding allowed", "largest difference of a parameter",
    ]  # fmt: skip
    ActionChains(page.driver).move_to_element(page.all(".panel svg")[0]).perform()
    assert page.tip(10).startswith("step 10 numpy float64 2 torch float64 2 mine float64 2")
    page.all(".panel")[1].send_keys(Keys.ARROW_RIGHT * 4)
    assert page.tip(120).startswith("step 120 numpy float64 0.5 torch float64 7.5 mine float64 0.5")
    assert page.words(".tip strong") == ["✗ torch float64 differs"]


def test_the_step_of_a_failure_is_marked(page):
    page.open(f"#case={FAILS}")
    page.wait(".panel svg")
    assert page.words(".panel .failing text") == ["✗ step 120"] * 3
    assert page.words(".clipped text") == ["▲"]
    assert page.words(".failures li") == [f"✗ torch float64: step 120, {WRONG}"]
    assert page.words(".panel:first-child [aria-label='y-axis tick label'] text")[:2] == ["10⁻³", "10⁻²"]
    page.open("#case=depth/relu_16")
    page.wait(".panel svg")
    assert page.words(".panel .failing text, .failures li") == []


def test_the_legend_takes_lines_away(page):
    page.open(f"#case={FAILS}")
    page.wait(".panel svg")
    lines = '.panel [aria-label="line"]'
    assert len(page.all(lines)) == 15
    torch = next(button for button in page.all(".legend button") if "torch" in button.text)
    torch.click()
    assert torch.get_attribute("aria-pressed") == "false"
    assert len(page.all(lines)) == 12
    for button in page.all(".legend button"):
        if button.get_attribute("aria-pressed") == "true":
            button.click()
    assert page.all(lines) == []
    torch.click()
    assert page.all(lines) == []  # its dtypes are away too


def light(page: Page, selector: str, what: str) -> float:
    """How light a colour is, from 0 to 255."""
    colour = page.run(f"getComputedStyle(document.querySelector('{selector}')).{what}")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3


def test_light_and_dark(page):
    page.open(f"#case={FAILS}")
    screen(page, 1280, "dark")
    page.wait(".panel svg")
    assert light(page, ":root", "backgroundColor") < 40
    assert light(page, ".panel svg", "color") > 200
    page.one("#theme").click()
    assert light(page, ":root", "backgroundColor") > 200
    assert light(page, ".panel svg", "color") < 60
    page.open()
    assert light(page, ":root", "backgroundColor") > 200  # as it was chosen
    page.run("localStorage.clear()")


@pytest.mark.parametrize(
    ("file", "fragment"),
    [("report", ""), ("report", "#verdict=differs"), ("report", f"#case={FAILS}"), ("hostile", ""), ("none", "")],
)
def test_a_narrow_screen_is_enough(page, file, fragment):
    """For long words too, and for a report of nothing."""
    screen(page, 400)
    page.open(fragment, file)
    if "case" in fragment:
        page.wait(".panel svg")
        page.all(".panel")[2].send_keys(Keys.ARROW_RIGHT * 4)
        page.wait(".tip:not([hidden])")
    assert page.run("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("is_open", [False, True])
def test_words_from_files_do_nothing(page, is_open):
    page.open(file="hostile")
    if is_open:
        page.one("#matrix .row a").click()
        page.wait(".panel svg")
        page.all(".panel")[0].send_keys(Keys.ARROW_RIGHT)
        assert HOSTILE in page.words("article")[0]
    else:
        assert page.shows(HOSTILE)
        assert page.words("#matrix .row a") == [HOSTILE]
    assert page.run("window.hacked") is None
    assert page.all("img, #matrix script, article script") == []


def test_nothing_leaves_the_file(page):
    page.open(f"#case={FAILS}")
    page.wait(".panel svg")
    assert page.run("performance.getEntriesByType('resource').map((one) => one.name)") in ([], ["data:,"])
    acting = '<img src="x.png" onerror="hacked=1"><a onclick="hacked=1">a</a>'
    page.run(f"document.body.insertAdjacentHTML('beforeend', '{acting}')")
    page.run("document.querySelector('body > a').click()")
    page.wait("body > img")
    time.sleep(0.1)
    assert page.run("window.hacked") is None
    refused = page.errors()
    assert refused
    assert all("Content Security Policy" in words for words in refused)
