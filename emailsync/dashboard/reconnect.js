// How an account whose login is refused gets a new one: by a password, or at its issuer.

import { ask } from "./api.js";
import { connect } from "./connect.js";
import { Dialog, field } from "./dialog.js";

export class Reconnection {
  constructor(path, tell) {
    const password = field("New password of the mailbox", "password", {
      type: "password",
      autocomplete: "off",
      required: true,
    });
    this.dialog = new Dialog("Reconnect", "Reconnect", password, async (credentials) => {
      await ask(path, { method: "PATCH", body: { credentials } });
      tell("It is tried with the new password at once.", "good");
    });
  }

  /** Tell whether its owner can reconnect such an account; our own registration asks no owner. */
  serves({ settings }) {
    return settings.auth !== "service_account" && settings.permission !== "application";
  }

  /** Ask for what is needed. */
  async begin({ id, tenant_id, provider_type: type, settings }) {
    const issuer = type === "imap" ? settings.oauth : type;
    if (!issuer) this.dialog.open();
    else await connect(issuer, `/accounts/${id}`, { tenant_id, provider_id: id });
  }
}
