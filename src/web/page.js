(() => {
  'use strict';
  const live = document.getElementById('live');
  const link = document.getElementById('link');

  // The list moves as exposures arrive. Whoever reads with the keyboard keeps their place.
  if (live && live.dataset.events && window.EventSource) {
    const source = new EventSource(live.dataset.events);
    const say = (text, good) => {
      link.hidden = false;
      link.textContent = text;
      link.className = good ? 'link good' : 'link bad';
    };
    source.addEventListener('open', () => say('live', true));
    source.addEventListener('error', () => {
      const over = source.readyState === EventSource.CLOSED;
      say(over ? 'not live: load the page again' : 'connection lost, trying again', false);
    });
    source.addEventListener('live', (event) => {
      const focus = document.activeElement && document.activeElement.id;
      const across = [...live.querySelectorAll('.scroll')].map((part) => part.scrollLeft);
      live.innerHTML = JSON.parse(event.data);
      live.querySelectorAll('.scroll').forEach((part, i) => { part.scrollLeft = across[i] || 0; });
      const again = focus && document.getElementById(focus);
      if (again && live.contains(again)) again.focus({ preventScroll: true });
    });
  } else if (live && !live.dataset.events) {
    // An exposure in hand: its page is another one when it is done.
    setTimeout(() => location.reload(), 3000);
  }

  // A thumbnail opens larger on the same page; the link behind it leads to the object's own page.
  const viewer = document.getElementById('viewer');
  const thumbs = [...document.querySelectorAll('a.thumb')];
  if (!viewer || !viewer.showModal || !thumbs.length) return;
  const image = viewer.querySelector('img');
  const caption = viewer.querySelector('figcaption');
  let shown = -1;
  const show = (index) => {
    const thumb = thumbs[index];
    if (!thumb) return;
    shown = index;
    image.src = thumb.dataset.large;
    image.alt = thumb.querySelector('img').alt;
    const more = document.createElement('a');
    more.href = thumb.href;
    more.textContent = 'everything about this object';
    caption.replaceChildren(image.alt + '. Arrow keys: next and previous. ', more);
    if (!viewer.open) viewer.showModal();
  };
  thumbs.forEach((thumb, index) => thumb.addEventListener('click', (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    show(index);
  }));
  viewer.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowRight') show(shown + 1);
    if (event.key === 'ArrowLeft') show(shown - 1);
  });
  viewer.addEventListener('click', (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener('close', () => { if (thumbs[shown]) thumbs[shown].focus(); });
})();
