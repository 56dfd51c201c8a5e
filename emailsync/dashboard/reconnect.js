// How an account whose login is refused gets a new one: a password is asked for.

import { ask } from "./api.js";
import { el } from "./dom.js";

export class Reconnection {
  constructor(path, tell) {
    this.path = path;
    this.tell = tell;
    this.field = el("input", { id: "password", type: "password", autocomplete: "off", required: true });
    this.refusal = el("p", { class: "refusal", role: "alert" });
    this.dialog = el("dialog", { "aria-labelledby": "reconnect-title" }, this.form());
  }

  /** Tell whether there is a way to reconnect such an account here. */
  serves({ provider_type: type, settings }) {
    return type === "imap" && !settings.oauth;
  }

  /** Ask for what is needed. */
  begin() {
    this.field.value = "";
    this.refusal.textContent = "";
    this.dialog.showModal();
  }

  form() {
    const form = el("form", { class: "stack" }, [
      el("h2", { id: "reconnect-title" }, "Reconnect"),
      el("label", { for: "password" }, "New password of the mailbox"),
      this.field,
      this.refusal,
      el("div", { class: "buttons" }, [
        el("button", { type: "submit", class: "first" }, "Reconnect"),
        el("button", { type: "button", class: "cancel" }, "Cancel"),
      ]),
    ]);
    form.querySelector(".cancel").addEventListener("click", () => this.dialog.close());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    return form;
  }

  async send() {
    try {
      const body = { credentials: { password: this.field.value } };
      await ask(this.path, { method: "PATCH", body });
      this.dialog.close();
      this.tell("It is tried with the new password at once.", "good");
    } catch (error) {
      this.refusal.textContent = error.message;
    } finally {
      this.field.value = "";
    }
  }
}
