// Before the first paint, so that a chosen theme does not flash. Not a module: those come later.
try {
  const theme = localStorage.getItem("octavo.theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is forbidden here; the system's theme it is.
}
