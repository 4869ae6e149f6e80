"""JupyterLab in a browser, as a learner has it: publish, a button approves, a run goes on, the kernel restarts.

The pictures on the way lie in the folder that CONSILIUM_SCREENSHOTS names, or in the test's own.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from datasites.demo import stand_ins
from federation.researcher.session import Researcher
from federation.strategy.presets import suggested
from tests.conftest import free_ports
from tests.waiting import until

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.servers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium"),
]
ROOT = Path(__file__).parents[2]
OURS = "rosendahl"
PATIENCE_MS = 120_000
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@contextlib.contextmanager
def started(
    command: list[str], output: Path, **options: object
) -> Iterator["subprocess.Popen[str]"]:
    """A process until the block ends, which then stops in order."""
    with output.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, text=True, **options
        )  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=90)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A federation whose learner is the owner of one hospital; the other owners are played."""
    folder = tmp_path_factory.mktemp("lab")
    command = [
        sys.executable,
        "launch.py",
        "up",
        "--follow",
        OURS,
        "--state",
        str(folder / "state"),
    ]
    command += ["--first-port", str(free_ports(120))]
    with started(command, folder / "up.log", cwd=ROOT):
        until(lambda: "Stop with Ctrl-C" in (folder / "up.log").read_text(), within_s=200)
        yield folder / "state"


@pytest.fixture(scope="module")
def lab(state: Path) -> Iterator[str]:
    """The address of JupyterLab over copies of the notebooks."""
    folder = state.parent
    for name in ("datasites/notebooks", "researcher_notebooks"):
        shutil.copytree(ROOT / name, folder / "notebooks", dirs_exist_ok=True)
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    stand_ins.write("heart", folder / "heart", patients=90, seed=5)
    port, token = free_ports(1), secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", "--ServerApp.port_retries=0"]
    command += ["--LabApp.expose_app_in_browser=True"]
    environment = os.environ | {
        "CONSILIUM_STATE": str(state),
        "CONSILIUM_HOSPITAL": OURS,
        "CONSILIUM_DATA": str(folder / "heart"),
        "CONSILIUM_ASSET": "heart-of-rosendahl",
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "PYTHONPATH": str(ROOT),
    }
    address = f"http://127.0.0.1:{port}/lab/workspaces/{{}}/tree/{{}}?token={token}"

    def answers() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/api", timeout=2).status_code == 200
        return False

    with started(command, folder / "lab.log", cwd=folder / "notebooks", env=environment):
        until(answers, within_s=120)
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def pictures(tmp_path: Path, browser: Browser) -> Iterator[Path]:
    """Where pictures go; at the end of a test also what each window shows then."""
    folder = Path(os.environ.get("CONSILIUM_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    for number, page in enumerate(page for one in browser.contexts for page in one.pages):
        page.screenshot(path=folder / f"left_open_{number}.png")
        page.close()


def opened(browser: Browser, lab: str, notebook: str) -> Page:
    """A window of its own with one notebook, whose kernel is ready."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(lab.format(notebook.partition(".")[0], notebook))
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    ready(page)
    return page


def ready(page: Page) -> None:
    """Wait until the notebook's kernel has nothing to do."""
    page.wait_for_selector("#jp-main-statusbar >> text=| Idle")


def does(page: Page, command: str) -> None:
    """A command of JupyterLab's menus."""
    page.evaluate("command => { jupyterapp.commands.execute(command) }", f"notebook:{command}")


def run_all(page: Page) -> None:
    """Run all cells; again if JupyterLab sent them before it was connected to the kernel, and lost them."""
    for _ in range(3):
        does(page, "run-all-cells")
        with contextlib.suppress(Error):
            page.wait_for_selector(
                ".jp-InputPrompt:has-text('[1]:')", state="attached", timeout=60_000
            )
            return
    raise AssertionError("the kernel runs no cell")


def run_until(page: Page, heading: str) -> None:
    """Run cell after cell until the one below a heading has been run."""
    for _ in range(40):
        chosen = page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
        last = heading in chosen.inner_text()
        does(page, "run-cell-and-select-next")
        page.wait_for_timeout(200)
        if last:
            does(page, "run-cell-and-select-next")
            return
    raise AssertionError(f"no cell under {heading}")


def taken(page: Page, shown: str, path: Path) -> None:
    """A picture of the window with something in view; what is drawn anew at that moment stays where it is."""
    with contextlib.suppress(Error):
        page.locator(shown).first.scroll_into_view_if_needed(timeout=5_000)
    page.wait_for_timeout(300)
    page.screenshot(path=path)


def test_an_owner_publishes_a_folder_in_a_notebook(
    lab: str, browser: Browser, pictures: Path
) -> None:
    page = opened(browser, lab, "publish.ipynb")
    run_all(page)
    page.wait_for_selector("text=heart: 90 patients")
    page.wait_for_selector("text=heart-of-rosendahl version 1 of rosendahl")
    page.wait_for_selector("text=Nothing yet.")
    taken(page, "text=Nothing yet.", pictures / "published.png")
    page.close()


def test_a_button_approves_the_run_goes_on_and_outlives_its_kernel(
    lab: str, browser: Browser, pictures: Path
) -> None:
    researcher = opened(browser, lab, "train_a_model.ipynb")
    run_all(researcher)
    owner = opened(browser, lab, "review_requests.ipynb")
    run_until(owner, "With buttons")
    owner.wait_for_selector("text=skin of ")
    owner.wait_for_selector("button:has-text('Approve …')")
    taken(owner, "text=What it is for", pictures / "asked.png")
    owner.click("button:has-text('Approve …')")
    owner.wait_for_selector("text=To be signed at rosendahl")
    taken(owner, "text=To be signed at rosendahl", pictures / "to_be_signed.png")
    owner.click("button:has-text('Sign this approval')")
    owner.wait_for_selector("text=Signed and in force")
    researcher.wait_for_selector("text=/[3-9] of 60/")
    taken(researcher, "text=/[0-9] of 60/", pictures / "training.png")
    owner.wait_for_selector("text=/([3-9]|[1-5][0-9]) of 60/")
    taken(owner, "text=/[0-9] of 60/", pictures / "running.png")
    does(researcher, "restart-kernel")
    researcher.click(".jp-Dialog-button.jp-mod-warn")
    ready(researcher)
    does(researcher, "clear-all-cell-outputs")
    run_all(researcher)
    researcher.wait_for_selector("text=Balanced accuracy")
    taken(researcher, "text=Balanced accuracy", pictures / "trained.png")
    assert not researcher.locator("text=Traceback").count()
    owner.wait_for_selector("text=60 of 60")
    researcher.close()
    owner.close()


def test_another_is_denied_and_the_reason_arrives(
    lab: str, browser: Browser, state: Path, pictures: Path
) -> None:
    owner = opened(browser, lab, "review_requests.ipynb")
    run_until(owner, "With buttons")
    owner.wait_for_selector("option:has-text('skin of ')", state="attached")
    researcher = Researcher.connect(state / "researcher.json")
    start = suggested(researcher.catalogue()[0].spec)
    study = researcher.study("second", asset="skin-lesions", epsilon=2.0, **start.choices())
    study.submit()
    owner.wait_for_selector("text=New: second of ")
    requests = owner.locator("select:has(option:has-text('second of '))")
    requests.select_option(label=requests.locator("option", has_text="second of ").inner_text())
    owner.fill("textarea[placeholder='A question, or a reason']", "Our board meets in March.")
    owner.click("text=the researcher may read it")
    owner.click("button:has-text('Deny …')")
    owner.click("button:has-text('Sign this refusal')")
    owner.wait_for_selector("text=The researcher can read why")
    taken(owner, "text=The researcher can read why", pictures / "denied.png")
    until(lambda: "Our board meets in March." in str(study.notes()))
    researcher.close()
    owner.close()
