// The page without what is untrusted: each element and attribute outside the value holders, as lines of text.
// A holder is any element with data-value; `data-value="about"` is what Nod says of a value, there or not.
(root) => {
  const IGNORED = new Set(["aria-current", "nonce", "data-now", "data-length"]);
  const steady = (text) => text
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "U").replace(/[0-9a-f]{6,}/g, "H")
    .replace(/under \d/g, "0").replace(/\d[\d.,]*/g, "0").replace(/\s+/g, " ").trim();
  const attribute = ({ name, value, ownerElement }) => {
    if (name === "class") value = value.split(" ").filter((one) => one && one !== "fresh" && !one.startsWith("htmx-")).sort().join(" ");
    if (name === "hx-headers") value = Object.keys(JSON.parse(value)).join(" ");
    if (name === "datetime") value = "";
    if (name === "value" && ownerElement.name === "csrfmiddlewaretoken") value = "";
    return `${name}=${steady(value)}`;
  };
  const lines = [];
  const walk = (element, depth) => {
    if (element.dataset?.value === "about" || element.matches("#alike, #held")) return; // what else there is on the desk
    if (element.dataset?.value !== undefined) return lines.push(`${depth}VALUE`);
    const names = [...element.attributes].filter(({ name }) => !IGNORED.has(name)).map(attribute).filter((one) => one !== "class=").sort();
    lines.push(`${depth}${element.localName} ${names.join(" ")}`);
    if (element.matches("title, time, #announce, #live")) return;
    for (const child of element.childNodes) {
      if (child.nodeType === Node.ELEMENT_NODE) walk(child, `${depth} `);
      else if (child.nodeType === Node.TEXT_NODE && steady(child.data)) lines.push(`${depth} "${steady(child.data)}"`);
      else if (child.nodeType !== Node.TEXT_NODE) lines.push(`${depth} node ${child.nodeType}`);
    }
  };
  walk(root, "");

  // Inside the holders: nothing that runs, loads, sends or goes anywhere but by a click on a plain link.
  const POWERS = "script, iframe, object, embed, style, link, base, meta, form, button, textarea, select, template, "
    + "img, video, audio, source, svg:not(.icon), math, [style], [src], [srcdoc], [action], [formaction], [autofocus]";
  const BY_NAME = /^(on|hx-|data-hx-|ws-|sse-)/;
  const bad = [];
  for (const holder of root.querySelectorAll("[data-value]")) {
    for (const element of [holder, ...holder.querySelectorAll("*")]) {
      const names = element.getAttributeNames();
      if (element.outerHTML === '<button type="button" class="copy">Copy</button>') continue; // made by chat.js
      const field = element === holder && element.matches("textarea"); // Nod's own; it has text alone
      if ((!field && element.matches(POWERS)) || names.some((name) => BY_NAME.test(name))) bad.push(element.outerHTML.slice(0, 200));
      if (element.matches("svg.icon > use[href^='/static/img/icons.svg']")) continue;
      if (element.hasAttribute("href") && !/^(https?:|mailto:)/.test(element.getAttribute("href"))) bad.push(element.outerHTML.slice(0, 200));
      if (element !== holder && element.closest(".words") && element.id) bad.push(element.outerHTML.slice(0, 200));
    }
  }
  const marks = (css) => [...new Set([...root.querySelectorAll(css)].map((mark) => mark.textContent.split(" ")[0]))];
  const about = [...root.querySelectorAll("[data-value=about]")].map((one) => one.textContent.trim());
  return { lines, bad, about, args: marks("#card .args mark"), words: marks(".words mark"), said: marks("blockquote mark"),
    pwned: window.__pwned };
}
