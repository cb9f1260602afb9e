// The invitation in the page's address, which is as good as a key. It does not stay there: the video script is somebody
// else's, and such scripts report the address they run at. The tab remembers it, so that the page can be loaded again.

const KEY = `sipkit invitation ${location.pathname}`;

function given() {
  return new URLSearchParams(location.search).get("invitation");
}

// Before any script but ours runs.
export function hideInvitation() {
  const token = given();
  if (!token) return;
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // In a frame the browser may deny storage. Loaded again, the page then asks for the link.
  }
  history.replaceState(null, "", location.pathname);
}

// Where the page was before its address was shortened; null if this tab was not there, or was sent here from there.
export function wayBack() {
  if (given()) return null;
  try {
    const token = sessionStorage.getItem(KEY);
    return token && `${location.pathname}?invitation=${encodeURIComponent(token)}`;
  } catch {
    return null;
  }
}
