// A form in a dialog, which stays open with the reason when what it asked for is refused.

import { el } from "./dom.js";

/** A labelled field: an input, or a choice where there are options, as [value, text]. */
export function field(label, name, { options = null, ...attributes } = {}) {
  const id = `field-${name}`;
  const choices = options?.map(([value, text]) => el("option", { value }, text));
  const input = el(options ? "select" : "input", { id, name, ...attributes }, choices ?? []);
  return el("div", { class: "field" }, el("label", { for: id }, label), input);
}

export class Dialog {
  /** @param send does what is asked for with the form's values, by name, and throws when refused. */
  constructor(title, label, fields, send) {
    this.send = send;
    this.refusal = el("p", { class: "refusal", role: "alert" });
    const cancel = el("button", { type: "button" }, "Cancel");
    const submit = el("button", { type: "submit", class: "first" }, label);
    this.form = el("form", { class: "stack" }, [
      el("h2", {}, title),
      fields,
      this.refusal,
      el("div", { class: "buttons" }, submit, cancel),
    ]);
    this.element = el("dialog", { "aria-label": title }, this.form);
    cancel.addEventListener("click", () => this.element.close());
    this.element.addEventListener("close", () => this.form.reset());
    this.form.addEventListener("input", () => (this.refusal.textContent = ""));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(submit);
    });
  }

  open() {
    this.refusal.textContent = "";
    this.element.showModal();
  }

  async submit(button) {
    button.disabled = true;
    try {
      await this.send(Object.fromEntries(new FormData(this.form)));
      this.element.close();
    } catch (error) {
      this.refusal.textContent = error.message || "The daemon does not answer.";
    } finally {
      button.disabled = false;
    }
  }
}
