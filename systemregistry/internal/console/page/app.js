"use strict";
// All text from the registry goes into the page as text, never as markup.

const $ = (id) => document.getElementById(id);
let me = null;

class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

async function api(method, path, query, body) {
  const url = "/api/v1/" + path + (query ? "?" + new URLSearchParams(query) : "");
  const options = { method, headers: {}, redirect: "error" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new Refused(0, "The registry does not answer.");
  }
  const data = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, (data && data.error) || "The registry answered " + answer.status + ".");
  return data;
}

function element(name, text, attributes = {}) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}

function button(text, label, className, act) {
  const b = element("button", text, { type: "button", class: className, "aria-label": label });
  b.addEventListener("click", () => attempt(act));
  return b;
}

const say = (text) => { $("status").textContent = text; };

async function attempt(act) {
  $("message").textContent = "";
  try {
    await act();
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    if (e.status === 401 && me) { me = null; await route(); }
    $("message").textContent = e.message;
  }
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (bytes >= 1024 && i < units.length - 1) { bytes /= 1024; i++; }
  return (i === 0 ? bytes : bytes.toFixed(bytes < 10 ? 1 : 0)) + " " + units[i];
}

function when(text) {
  if (!text) return element("span", "–");
  return element("time", new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }), { datetime: text, title: text });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    $("message").textContent = "Copy it by hand: " + text;
  }
}

// A dialog says that it has closed some time after it has. Until then nothing else is asked, so that each answer is that
// to its own question.
let answered = Promise.resolve();

function confirmed(title, text, action) {
  answered = answered.then(() => {
    const dialog = $("confirm");
    $("confirm-title").textContent = title;
    $("confirm-text").textContent = text;
    $("confirm-yes").textContent = action;
    dialog.returnValue = "";
    dialog.showModal();
    $("confirm-no").focus();
    return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
  });
  return answered;
}

// Pages.

let search = "";
let searches = 0; // An answer to what was typed before comes too late.

async function showRepositories(after = "") {
  const mine = ++searches;
  const list = $("repository-list");
  let page;
  for (let tries = 0; tries < 10; tries++) { // A page may be empty though more come: the registry looks at so many at once.
    page = await api("GET", "repositories", search ? { after, q: search } : { after });
    if (mine !== searches) return;
    if (!after) list.replaceChildren();
    for (const name of page.repositories) {
      const li = element("li");
      li.append(element("a", name, { href: "#images/" + encodeURIComponent(name) }));
      list.append(li);
    }
    if (page.repositories.length || !page.next) break;
    after = page.next;
  }
  more($("repositories-more"), page.next, showRepositories);
  filter();
}

// What is shown is filtered at once, and the registry asked when nobody types any more.
function filter() {
  const text = $("filter").value.trim().toLowerCase();
  let shown = 0;
  for (const li of $("repository-list").children) {
    li.hidden = !li.textContent.includes(text);
    if (!li.hidden) shown++;
  }
  const none = $("repositories-none");
  none.hidden = shown > 0;
  none.textContent = text ? "No name has this in it." : "There is nothing here that you may pull yet. Push an image to see it.";
}

let typing = 0;

function type() {
  filter();
  clearTimeout(typing);
  typing = setTimeout(() => {
    const text = $("filter").value.trim().toLowerCase();
    if (text === search) return;
    search = text;
    attempt(showRepositories);
  }, 300);
}

function more(b, next, show) {
  b.hidden = !next;
  b.onclick = () => attempt(() => show(next));
}

async function showImages(repository, after = "") {
  $("images-title").textContent = repository;
  const page = await api("GET", "images", { repository, after });
  const rows = $("image-rows");
  if (!after) {
    rows.replaceChildren();
    showPolicy(await api("GET", "policy", { repository }));
  }
  for (const image of page.images) rows.append(imageRow(image, page.mayDelete));
  more($("images-more"), page.next, (next) => showImages(repository, next));
}

function showPolicy(policy) {
  const days = (seconds) => Math.round(seconds / 8640) / 10 + " days";
  const lines = [];
  if (policy.immutable) lines.push("A tag never means another image.");
  if (policy.keepTags) lines.push("The newest " + policy.keepTags + " tags are kept.");
  if (policy.keepForSeconds) lines.push("Tags are kept for " + days(policy.keepForSeconds) + ".");
  if (policy.keepUntaggedSeconds) lines.push("Images without a tag are kept for " + days(policy.keepUntaggedSeconds) + ".");
  for (const q of policy.quotas || []) lines.push(size(q.used) + " of " + size(q.maxBytes) + " are used by " + q.repositories + ".");
  $("policy").replaceChildren(...lines.map((line) => element("li", line)));
  $("policy").hidden = lines.length === 0;
}

function imageRow(image, mayDelete) {
  const row = element("tr");
  const name = element("th", image.tag, { scope: "row" });
  name.append(element("small", image.digest.replace("sha256:", "").slice(0, 12), { title: image.digest }));
  const cells = [element("td", size(image.size), { class: "nowrap" }), element("td", (image.platforms || []).join(", ") || "–")];
  const dates = [image.createdAt, image.pushedAt].map((text) => { const td = element("td", "", { class: "nowrap" }); td.append(when(text)); return td; });
  const command = "docker pull " + me.host + "/" + image.repository + ":" + image.tag;
  const buttons = element("div", undefined, { class: "buttons" });
  const pull = button("Copy pull command", "Copy pull command of " + image.tag, "quiet", () => copy(command));
  pull.title = command;
  buttons.append(pull);
  if (mayDelete) {
    buttons.append(button("Delete", "Delete the tag " + image.tag, "danger", async () => {
      if (!await confirmed("Delete " + image.repository + ":" + image.tag + "?", "Whoever pulls this tag gets nothing from then on. Other tags of the same image stay.", "Delete")) return;
      await api("DELETE", "images", { repository: image.repository, reference: image.tag });
      row.remove();
      say("Deleted " + image.tag + ".");
      $("main").focus();
    }));
  }
  const last = element("td");
  last.append(buttons);
  row.append(name, ...cells, ...dates, last);
  return row;
}

async function showAccounts() {
  const page = await api("GET", "accounts");
  $("account-rows").replaceChildren(...page.accounts.map(accountRow));
  if (!$("robot-repositories").value) $("robot-repositories").value = me.tenant ? me.tenant + "/**" : "";
}

function accountRow(account) {
  const row = element("tr");
  const name = element("th", undefined, { scope: "row" });
  name.append(account.robot ? element("a", account.name, { href: "#robot/" + encodeURIComponent(account.name) }) : element("span", account.name));
  const notes = [account.robot ? "robot" : "person", account.admin && "manages accounts", account.tenant && "of " + account.tenant, account.disabled && "disabled"];
  name.append(element("small", notes.filter(Boolean).join(", ")));
  const rights = element("td", (account.rules || []).map((r) => r.actions.join("+") + " " + r.repositories).join(", ") || "none");
  const ends = element("td", "", { class: "nowrap" });
  ends.append(account.expiresAt ? when(account.expiresAt) : element("span", "never"));
  const change = element("td");
  const buttons = element("div", undefined, { class: "buttons" });
  if (account.robot) buttons.append(newSecret(account));
  if (account.name !== me.name) {
    buttons.append(button("Delete", "Delete " + account.name, "danger", async () => {
      if (!await confirmed("Delete " + account.name + "?", "Whoever uses it is logged out from then on.", "Delete")) return;
      await api("DELETE", "accounts", { name: account.name });
      row.remove();
      say("Deleted " + account.name + ".");
      $("main").focus();
    }));
  }
  change.append(buttons);
  row.append(name, rights, ends, change);
  return row;
}

function newSecret(account) {
  return button("New secret", "Make a new secret for " + account.name, "quiet", async () => {
    if (!await confirmed("A new secret for " + account.name + "?", "The one before is worth nothing from then on.", "Make it")) return;
    showSecret(await api("POST", "accounts/secret", { name: account.name }, {}));
  });
}

// The page of a robot: what it may do, and how to use it.

async function showRobot(name) {
  $("robot-page-title").textContent = name;
  const account = (await api("GET", "accounts")).accounts.find((a) => a.name === name && a.robot);
  if (!account) throw new Refused(404, "There is no such robot, or you do not manage it.");
  const facts = [
    ["Rights", (account.rules || []).map((r) => r.actions.join(", ") + ": " + r.repositories).join("; ") || "none"],
    ["Tenant", account.tenant || "none"],
    ["Description", account.description || "–"],
    ["State", account.disabled ? "disabled" : "active"],
  ];
  const list = facts.flatMap(([what, value]) => [element("dt", what), element("dd", value)]);
  const ends = element("dd");
  ends.append(account.expiresAt ? when(account.expiresAt) : element("span", "never"));
  $("robot-facts").replaceChildren(...list, element("dt", "Ends"), ends);
  $("robot-buttons").replaceChildren(newSecret(account));
  const secretName = resourceName(name);
  const repository = ((account.rules || [])[0] || { repositories: "" }).repositories.replace(/\/?\*.*$/, "");
  const profile = { name: secretName, kind: "system", endpoint: me.host + (repository ? "/" + repository : ""), login: { username: name, password: "THE SECRET" } };
  $("robot-uses").replaceChildren(
    use("Docker, Podman and others", "docker login --username " + name + " --password-stdin " + me.host),
    use("A pod on Kubernetes, after kubectl apply -f pull-secret.yaml", "imagePullSecrets:\n- name: " + secretName),
    use("Every pod of a service account", "kubectl patch serviceaccount default --type=merge -p '" + JSON.stringify({ imagePullSecrets: [{ name: secretName }] }) + "'"),
    use("A registry profile of regcred, which keeps short-lived pull secrets in namespaces", JSON.stringify(profile, null, 2)),
  );
}

function use(title, text) {
  const part = element("div", undefined, { class: "use" });
  const pre = element("pre", undefined, { tabindex: "0", "aria-label": title });
  pre.append(element("code", text));
  const head = element("div", undefined, { class: "above" });
  head.append(element("h3", title), button("Copy", "Copy: " + title, "quiet", () => copy(text)));
  part.append(head, pre);
  return part;
}

const resourceName = (name) => name.replace(/[^a-z0-9]+/g, "-");

// One's own account.

async function showMe() {
  $("password-username").value = me.name;
  const open = (await api("GET", "sessions")).sessions;
  $("session-rows").replaceChildren(...open.map((session) => {
    const row = element("tr");
    const since = element("th", undefined, { scope: "row" });
    since.append(when(session.createdAt));
    if (session.current) since.append(element("small", "this browser"));
    const end = element("td");
    const buttons = element("div", undefined, { class: "buttons" });
    if (!session.current) {
      buttons.append(button("End", "End the session from " + session.client, "quiet", async () => {
        await api("DELETE", "sessions", { id: session.id });
        row.remove();
        say("Ended.");
        $("main").focus();
      }));
    }
    end.append(buttons);
    row.append(since, element("td", session.client), element("td", session.agent || "–"), end);
    return row;
  }));
}

async function changePassword(form) {
  const { current, password, again } = form.elements;
  if (password.value !== again.value) throw new Refused(0, "The new password is not the same both times.");
  const body = { current: current.value, password: password.value };
  form.reset();
  try {
    await api("POST", "accounts/secret", { name: me.name }, body);
  } catch (e) {
    // The session is open still: only the password was wrong.
    throw e instanceof Refused && e.status === 401 ? new Refused(0, "The current password is wrong.") : e;
  }
  me = null;
  await route();
  $("message").textContent = "The password was changed. Log in with the new one.";
}

async function makeRobot(form) {
  const actions = ["pull", "push", "delete"].filter((name) => form.elements[name].checked);
  const body = { name: form.elements.name.value.trim(), robot: true, rules: [{ repositories: form.elements.repositories.value.trim(), actions }] };
  const days = Number(form.elements.days.value);
  if (days > 0) body.expiresAt = new Date(Date.now() + days * 86400e3).toISOString();
  const made = await api("POST", "accounts", null, body);
  form.reset();
  await showAccounts();
  showSecret(made);
}

function showSecret(account) {
  $("secret-name").textContent = account.name;
  $("secret-text").textContent = account.secret;
  $("secret").showModal();
}

// A docker config in a manifest, as kubectl create secret docker-registry writes it.
function pullSecret(name, secret) {
  const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const config = JSON.stringify({ auths: { [me.host]: { username: name, password: secret, auth: base64(name + ":" + secret) } } });
  return ["apiVersion: v1", "kind: Secret", "metadata:", "  name: " + resourceName(name), "type: kubernetes.io/dockerconfigjson", "data:", "  .dockerconfigjson: " + base64(config), ""].join("\n");
}

function download(fileName, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
  const a = element("a", undefined, { href: url, download: fileName });
  a.click();
  URL.revokeObjectURL(url);
}

// Which page the address says.

async function route() {
  const [page, argument] = (location.hash.slice(1) || "repositories").split("/");
  const shown = me ? (page === "images" || page === "me" || (page === "accounts" || page === "robot") && me.admin ? page : "repositories") : "login";
  for (const name of ["login", "repositories", "images", "accounts", "robot", "me"]) $(name).hidden = name !== shown;
  $("nav").hidden = !me;
  $("nav-accounts").hidden = !me || !me.admin;
  for (const a of $("nav").querySelectorAll("a")) {
    const here = a.hash === "#" + shown || a.hash === "#repositories" && shown === "images" || a.hash === "#accounts" && shown === "robot";
    if (here) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
  }
  $("who").textContent = me ? me.name : "";
  $("host").textContent = me ? me.host : "";
  if (shown === "login") { document.title = "Log in – Registry"; $("username").focus(); return; }
  const title = shown === "images" || shown === "robot" ? decodeURIComponent(argument || "") : $(shown + "-title").textContent;
  document.title = title + " – Registry";
  if (shown === "repositories") await showRepositories();
  if (shown === "images") await showImages(title);
  if (shown === "accounts") await showAccounts();
  if (shown === "robot") await showRobot(title);
  if (shown === "me") await showMe();
  $("main").focus();
}

$("login-form").addEventListener("submit", (e) => {
  e.preventDefault();
  attempt(async () => {
    const password = $("password").value;
    $("password").value = "";
    me = await api("POST", "session", null, { username: $("username").value.trim(), password });
    await route();
  });
});
$("logout").addEventListener("click", () => attempt(async () => { await api("DELETE", "session"); me = null; await route(); }));
$("filter").addEventListener("input", type);
$("password-form").addEventListener("submit", (e) => { e.preventDefault(); attempt(() => changePassword(e.target)); });
$("sessions-end").addEventListener("click", () => attempt(async () => { await api("DELETE", "sessions"); me = null; await route(); }));
$("robot-form").addEventListener("submit", (e) => { e.preventDefault(); attempt(() => makeRobot(e.target)); });
$("confirm-no").addEventListener("click", () => $("confirm").close("no"));
$("confirm-yes").addEventListener("click", () => $("confirm").close("yes"));
$("secret-copy").addEventListener("click", () => copy($("secret-text").textContent));
$("secret-download").addEventListener("click", () => download("pull-secret.yaml", pullSecret($("secret-name").textContent, $("secret-text").textContent)));
$("secret-close").addEventListener("click", () => $("secret").close());
$("secret").addEventListener("close", () => { $("secret-text").textContent = ""; });
addEventListener("hashchange", () => attempt(route));

attempt(async () => {
  try {
    me = await api("GET", "me");
  } catch (e) {
    if (e.status !== 401) throw e;
  }
  await route();
});
