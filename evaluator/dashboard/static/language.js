// The page's language. The server puts it on the document, and its sentences beside it; the switch asks for another.

const COOKIE = "liveshelf_language";
const YEAR_S = 31_536_000;
const root = document.documentElement;
const known = new Map(Object.entries(JSON.parse(document.getElementById("sentences").textContent)));

/** The language without its script or country. */
export const language = root.lang.split("-")[0];

/** The reader's own kind of it, for numbers and times. */
export const locale = navigator.languages.find((one) => one.split("-")[0] === language) ?? { en: "en-GB", zh: "zh-CN" }[language];

/** A sentence in the page's language, its fields filled in. */
export const t = (sentence, fields = {}) => (known.get(sentence) ?? sentence).replace(/\{(\w+)\}/g, (_, name) => fields[name]);

/** A name that data bring, such as a surface or an arm: translated where it is one of ours. */
export const called = (name) => known.get(name) ?? name;

/** A name of the code, such as a stage or a detector, in words. */
export const named = (name) => called(name.replaceAll("_", " "));

/** A path whose answer is in this language. */
export const spoken = (path, fields = {}) => `${path}?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(fields)), lang: language })}`;

const pick = document.getElementById("language");
pick.value = language;
pick.addEventListener("change", () => {
  document.cookie = `${COOKIE}=${pick.value}; path=/; max-age=${YEAR_S}; samesite=strict`;
  const here = new URL(location.href);
  here.searchParams.delete("lang");
  if (here.href === location.href) location.reload();
  else location.replace(here);
});
