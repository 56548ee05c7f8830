"""Take the pictures of docs/images in a headless Chromium, from a tracking store and a report's page.

Usage: python tools/screenshots.py [--store sqlite:///mlflow.db] [--page reports/report.html] [--out docs/images]

It needs Chromium with its driver, and selenium (`pip install -e '.[docs]'`). It clicks what a new user clicks: an experiment,
`Model training` (asked once), the chart icon.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as conditions
from selenium.webdriver.support.ui import WebDriverWait

SECONDS_TO_WAIT = 60  # seconds
EXPERIMENTS = {"ui-robustness.png": "medtransfer/score", "ui-finetune.png": "medtransfer/finetune"}
HIDE_TOOLBARS = """
const style = document.createElement("style");
style.textContent = ".modebar { display: none }";
document.head.append(style);
"""  # they appear only under the pointer
CHART = "input[type=radio][value=CHART]"


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="sqlite:///mlflow.db", help="address of the tracking store")
    parser.add_argument("--page", type=Path, default=Path("reports/report.html"), help="the report's page")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    options = parser.parse_args()
    if not options.page.exists():
        sys.exit(f"expected the report's page {options.page}, but it does not exist; run `medtransfer report` first")
    options.out.mkdir(parents=True, exist_ok=True)
    with browser() as driver:
        driver.get(options.page.resolve().as_uri())
        driver.save_screenshot(str(options.out / "report.png"))
        with server(options.store) as address:
            for name, experiment in EXPERIMENTS.items():
                chart(driver, address, experiment)
                driver.save_screenshot(str(options.out / name))
    for path in sorted(options.out.glob("*.png")):
        print(path)


@contextmanager
def browser() -> Iterator[WebDriver]:
    """Open a headless Chromium."""
    settings = webdriver.ChromeOptions()
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", "window-size=1300,1000"):
        settings.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=settings)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def server(store: str) -> Iterator[str]:
    """Run the MLflow UI over a store on a free port of this machine; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", store]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet, start_new_session=True)
    try:
        wait_for(address := f"http://127.0.0.1:{port}", process)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(address, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"expected the MLflow UI at {address}, but it did not come up within {SECONDS_TO_WAIT} s; try `make ui`")


def chart(driver: WebDriver, address: str, experiment: str) -> None:
    """Open an experiment's charts."""
    driver.get("about:blank")
    driver.get(f"{address}/#/experiments")
    wait = WebDriverWait(driver, SECONDS_TO_WAIT)
    wait.until(conditions.element_to_be_clickable((By.LINK_TEXT, experiment))).click()
    click(driver, wait.until(conditions.presence_of_element_located((By.XPATH, "//*[text()='Model training']"))))
    click(driver, wait.until(conditions.presence_of_element_located((By.CSS_SELECTOR, CHART))))
    wait.until(conditions.presence_of_element_located((By.CSS_SELECTOR, ".js-plotly-plot .main-svg")))
    time.sleep(3)  # the charts fade in
    for button in driver.find_elements(By.CSS_SELECTOR, "[data-component-id='mlflow.assistant.chat_panel.close']"):
        click(driver, button)
    driver.execute_script(HIDE_TOOLBARS)
    time.sleep(2)


def click(driver: WebDriver, element: WebElement) -> None:
    """Click an element even if something covers it."""
    driver.execute_script("arguments[0].click()", element)


if __name__ == "__main__":
    main()
