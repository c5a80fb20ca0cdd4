"""Drives a real Chromium through the page that tests/web_browser.rs serves.

Usage: browse_page.py URL EXPOSURE PICTURES CHROMIUM CHROMEDRIVER. Each line printed asks the test to do something with the daemon's
status; the test answers with a line when it is done. Any exception is a failure.
"""

import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

URL, EXPOSURE, PICTURES, CHROMIUM, CHROMEDRIVER = sys.argv[1:6]
PICTURES = Path(PICTURES)


def browser(*flags):
    options = Options()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1360,1000", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))


def ask(what):
    print(what, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "done", answer


def until(what, condition, seconds=15):
    """Waits for a condition; elements may vanish while the page moves."""
    end = time.monotonic() + seconds
    while True:
        try:
            result = condition()
            if result:
                return result
        except Exception:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def size(driver, width, height, scale=1):
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    )


def colours(driver, scheme):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def picture(driver, name):
    """A screenshot when every picture in view is there."""
    loaded = """return [...document.images].filter(i => i.getClientRects().length && i.getBoundingClientRect().top < innerHeight)
        .every(i => i.complete && i.naturalWidth > 0)"""
    until(f"pictures of {name}", lambda: driver.execute_script(loaded))
    driver.save_screenshot(str(PICTURES / name))


def cells(driver, column):
    """A column of the table of objects, by its head's address."""
    heads = driver.find_elements(By.CSS_SELECTOR, "table.objects thead th")
    at = next(i for i, head in enumerate(heads) if head.find_elements(By.CSS_SELECTOR, f"a[href*='sort={column}']"))
    rows = driver.find_elements(By.CSS_SELECTOR, "table.objects tbody tr")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[at].text for row in rows]


def numbers(texts):
    return [float(text.replace("\u2212", "-")) for text in texts if text != "\u2013"]


def fits_in(driver, what):
    wide, room = driver.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room, f"{what} is {wide} pixels wide where {room} are"


def readable(driver, what):
    """What a screen reader needs."""
    assert not driver.execute_script("return [...document.images].filter(i => !i.closest('dialog') && !i.alt).length"), f"{what}: a picture without words"
    bare = "return [...document.querySelectorAll('thead th')].filter(h => h.textContent && h.scope !== 'col').length"
    assert not driver.execute_script(bare), f"{what}: a head without scope"
    assert driver.execute_script("return document.querySelectorAll('h1').length") == 1, what
    assert driver.execute_script("return document.documentElement.lang") == "en", what


def complaints(driver, what):
    """A forbidden script or style, a file that is not there."""
    lines = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not lines, f"{what}: {lines}"


def the_list_moves(driver):
    driver.get(URL)
    until("the stream is open", lambda: driver.find_element(By.ID, "link").text == "live")
    driver.execute_script("window.sameDocument = true")
    assert EXPOSURE in driver.find_element(By.CSS_SELECTOR, "table.exposures").text, "what the archive holds"
    driver.find_element(By.ID, f"to-{EXPOSURE}").send_keys("")  # focus

    ask("begin")
    row = lambda: driver.find_element(By.XPATH, "//a[@id='to-night-7']/ancestor::tr").text
    until("the exposure is in the list", lambda: "detect\u2026" in row())
    ask("end")
    until("it is done", lambda: "done" in row() and "2\u202f345" in row() and "0.71" in row())
    ask("fail")
    until("the failure", lambda: "SHA-256" in driver.find_element(By.CSS_SELECTOR, "table.failures").text)
    assert driver.execute_script("return document.activeElement.id") == f"to-{EXPOSURE}", "the focus stays where it was"
    readable(driver, "list")
    size(driver, 1360, 900)
    picture(driver, "page.png")
    colours(driver, "dark")
    picture(driver, "page-dark.png")
    size(driver, 390, 800)
    fits_in(driver, "list")
    size(driver, 1360, 900)
    colours(driver, "light")
    ask("attack")
    hostile = "<img src=x onerror=window.owned=1>"
    until("markup from outside is text", lambda: driver.find_element(By.ID, "live").text.count(hostile) >= 4)
    assert driver.execute_script("return [window.owned, window.sameDocument]") == [None, True], "no script ran, no page was loaded"
    complaints(driver, "list")


def a_table_sorts(driver):
    driver.find_element(By.ID, f"to-{EXPOSURE}").click()
    until("the exposure's page", lambda: driver.find_element(By.TAG_NAME, "h1").text == EXPOSURE)
    readable(driver, "exposure")
    picture(driver, "exposure.png")
    fits_in(driver, "exposure")
    snr = numbers(cells(driver, "snr"))
    assert len(snr) > 20 and snr == sorted(snr, reverse=True), f"brightest first: {snr}"
    for column in ("flux", "snr", "ra"):
        up = None
        for wanted in ("ascending", "descending"):
            driver.find_element(By.CSS_SELECTOR, f"table.objects thead a[href*='sort={column}']").click()
            until("sorted", lambda: driver.find_element(By.CSS_SELECTOR, "th[aria-sort]").get_attribute("aria-sort") == wanted)
            values = numbers(cells(driver, column))
            assert values == sorted(values, reverse=wanted == "descending"), f"{column} {wanted}: {values}"
            assert values != up, column
            up = values
    driver.find_element(By.CSS_SELECTOR, "a[rel=next]").click()
    until("page 2", lambda: "Page 2" in driver.find_element(By.CSS_SELECTOR, "nav.pages").text)
    driver.find_element(By.LINK_TEXT, "unflagged").click()
    until("only rows without flags", lambda: "only=unflagged" in driver.current_url)
    assert not driver.find_elements(By.CSS_SELECTOR, "table.objects td.flags .chip")
    complaints(driver, "exposure")


def a_thumbnail_opens(driver):
    driver.get(f"{URL}exposures/{EXPOSURE}#objects")
    thumbs = driver.find_elements(By.CSS_SELECTOR, "a.thumb")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", thumbs[2])
    until("thumbnails", lambda: driver.execute_script("return arguments[0].querySelector('img').naturalWidth", thumbs[2]) == 4 * 72 + 6)
    picture(driver, "objects.png")
    thumbs[2].click()
    viewer = driver.find_element(By.ID, "viewer")
    image = viewer.find_element(By.TAG_NAME, "img")
    width = lambda: driver.execute_script("return arguments[0].complete && arguments[0].naturalWidth", image)
    until("the larger picture", lambda: viewer.is_displayed() and width() == 4 * 320 + 6)
    assert image.get_attribute("src").startswith(thumbs[2].get_attribute("href"))
    picture(driver, "object.png")
    viewer.send_keys(Keys.ARROW_RIGHT)
    until("the next one", lambda: image.get_attribute("src").startswith(thumbs[3].get_attribute("href") + ".png") and width())
    webdriver.ActionChains(driver).send_keys(Keys.ESCAPE).perform()
    until("closed", lambda: not viewer.is_displayed())
    # The dialog tells of its end a moment after it is gone.
    until("the focus comes back", lambda: driver.execute_script("return document.activeElement.href") == thumbs[3].get_attribute("href"))
    complaints(driver, "thumbnails")


def all_is_readable_without_scripts():
    driver = browser("--blink-settings=scriptEnabled=false")
    try:
        driver.get(URL)
        driver.find_element(By.ID, f"to-{EXPOSURE}").click()
        driver.find_element(By.CSS_SELECTOR, "table.objects thead a[href*='sort=id']").click()
        ids = [int(text) for text in cells(driver, "id")]
        assert ids == sorted(ids), ids
        driver.find_element(By.CSS_SELECTOR, "a.thumb").click()
        assert driver.find_element(By.TAG_NAME, "h1").text == f"Object {ids[0]}", driver.current_url
        driver.find_element(By.LINK_TEXT, "exposures").click()
        assert driver.find_element(By.ID, f"to-{EXPOSURE}")
    finally:
        driver.quit()


def a_lost_page_says_so(driver):
    driver.get(URL)
    until("live", lambda: driver.find_element(By.ID, "link").text == "live")
    ask("stop")
    until("the loss is shown", lambda: "connection lost" in driver.find_element(By.ID, "link").text)
    assert EXPOSURE in driver.find_element(By.CSS_SELECTOR, "table.exposures").text, "the last state stays"


driver = browser()
try:
    the_list_moves(driver)
    a_table_sorts(driver)
    a_thumbnail_opens(driver)
    all_is_readable_without_scripts()
    a_lost_page_says_so(driver)
finally:
    driver.quit()
