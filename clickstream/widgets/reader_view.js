const MARK_UP = `
  <header><h4></h4><button type="button">Log out</button></header>
  <div class="log-in"><input aria-label="name" placeholder="your name, a to z" maxlength="40" autocomplete="off" spellcheck="false">
    <button type="button">Log in</button></div>
  <p class="message" role="status"></p>
  <div class="headlines"></div>
  <article><p class="title"></p><p class="about"></p><div class="actions"></div></article>
  <p class="standing"></p>
  <ol></ol>`;

const element = (name, className, text = "") => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

function render({ model, el }) {
  el.classList.add("clickstream-reader");
  el.innerHTML = MARK_UP;
  const part = (selector) => el.querySelector(selector);
  const input = part("input");
  const drawn = {}; // what each part shows: it is not drawn anew under a finger

  const send = (action, value = "") => model.send({ action, value, width: window.innerWidth });
  const button = (text, action, value, isPossible) => {
    const made = element("button", "", text);
    made.type = "button";
    made.disabled = !isPossible;
    made.addEventListener("click", () => send(action, value));
    return made;
  };
  const redraw = (name, values, draw) => {
    const now = JSON.stringify(values);
    if (drawn[name] !== now) draw();
    drawn[name] = now;
  };

  const show = () => {
    const { user, message, is_trouble, headlines, article, standing, events } = JSON.parse(model.get("_state"));
    if (!events) return;
    redraw("user", user, () => {
      part("h4").textContent = user ? `You are ${user}` : "Be a reader";
      part(".log-in").hidden = Boolean(user);
      part("header button").hidden = !user;
    });
    part(".message").textContent = message;
    part(".message").classList.toggle("trouble", is_trouble);
    redraw("headlines", [headlines, user, article], () => {
      part(".headlines").hidden = Boolean(article);
      const items = headlines.map(({ id, title, about }) => {
        const made = button(title, "open", id, Boolean(user));
        made.append(element("span", "about", about));
        return made;
      });
      part(".headlines").replaceChildren(...items);
    });
    redraw("article", article, () => {
      part("article").hidden = !article;
      if (!article) return;
      part("article .title").textContent = article.title;
      part("article .about").textContent = article.about;
      const actions = article.actions.map(([text, action, isPossible]) => button(text, action, "", isPossible));
      part(".actions").replaceChildren(...actions);
    });
    part(".standing").textContent = standing;
    redraw("events", events, () => {
      const items = events.map(({ what, way }) => {
        const made = element("li", "", what);
        made.append(element("span", "about", way));
        return made;
      });
      part("ol").replaceChildren(...items);
    });
  };

  part("header button").addEventListener("click", () => send("log out"));
  const logIn = () => send("log in", input.value);
  part(".log-in button").addEventListener("click", logIn);
  // JupyterLab keeps a form from being sent by Enter.
  input.addEventListener("keydown", ({ key }) => key === "Enter" && logIn());
  model.on("change:_state", show);
  show();
  return () => model.off("change:_state", show);
}

export default { render };
