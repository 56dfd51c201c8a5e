// How an account is added: an IMAP server's by its password, the others at their issuer.

import { ask } from "./api.js";
import { connect } from "./connect.js";
import { Dialog, field } from "./dialog.js";
import { el } from "./dom.js";
import { TYPES } from "./words.js";

const SECURITY = [
  ["tls", "TLS"],
  ["starttls", "STARTTLS"],
  ["none", "None"],
];

export class Addition {
  /** @param tenant whose accounts may be added; null: anybody's. */
  constructor(tenant) {
    this.server = el("fieldset", {}, [
      field("Server, if not known by the address", "host", { placeholder: "imap.example.org" }),
      field("Port", "port", { type: "number", min: 1, max: 65_535, value: 993, required: true }),
      field("Encryption", "security", { options: SECURITY }),
      field("User name, if it is not the address", "username", { autocomplete: "off" }),
      field("Password", "password", { type: "password", autocomplete: "off", required: true }),
    ]);
    const types = Object.entries(TYPES);
    this.dialog = new Dialog("Add an account", "Add", this.fields(tenant, types), (given) =>
      given.provider_type === "imap" ? addImap(given) : addAtIssuer(given),
    );
    this.dialog.form.addEventListener("input", () => this.fit());
    this.dialog.element.addEventListener("close", () => this.fit());
  }

  fields(tenant, types) {
    const whose = { required: true, maxlength: 200, value: tenant, readonly: tenant !== null };
    return [
      field("Tenant", "tenant_id", whose),
      field("Provider", "provider_type", { options: types }),
      field("Address", "email_address", { type: "email", required: true, autocomplete: "off" }),
      this.server,
    ];
  }

  /** Ask for a server only where it is not known. */
  fit() {
    const isImap = new FormData(this.dialog.form).get("provider_type") === "imap";
    this.server.hidden = this.server.disabled = !isImap;
  }
}

async function addImap({ host, port, security, username, password, ...account }) {
  const server = host ? { host, port: Number(port), security } : {};
  const settings = username ? { ...server, username } : server;
  const body = { ...account, settings, credentials: { password } };
  const { id } = await ask("providers", { method: "POST", body });
  location.hash = `#/accounts/${id}`;
}

async function addAtIssuer({ provider_type: issuer, tenant_id, email_address }) {
  await connect(issuer, "/accounts", { tenant_id, email_address });
}
