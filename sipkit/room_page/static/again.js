// On the page that lets nobody in: a tab that was let in before, and loaded the page again, goes back in.

import { wayBack } from "./link.js";

const way = wayBack();
if (way) location.replace(way);
else document.querySelector("script").remove(); // a plain page, then
