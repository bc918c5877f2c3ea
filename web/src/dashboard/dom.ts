/**
 * The only way that this page makes elements. Text arrives as text nodes, so names, reasons and payloads of foreign
 * atlases can never become markup; there is no innerHTML anywhere.
 */

export type Child = Node | string;

export interface Attributes {
  readonly [name: string]: string | boolean | undefined;
}

/** Make an element. `false` and `undefined` leave an attribute out, `true` writes it empty. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Return the page's element with this id; a page without it is a broken build, so it throws. */
export function byId<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} with the id \`${id}\``);
  return found;
}

/** Run `work` when the button is clicked; clicks while it runs are ignored. */
export function onClick(button: HTMLButtonElement, work: () => Promise<void> | void): void {
  button.addEventListener("click", () => {
    void whileBusy(button, work);
  });
}

/**
 * Run `work` with the button marked busy. It keeps the focus: a `disabled` button would drop it, and a keyboard user
 * with it.
 */
export async function whileBusy(button: HTMLButtonElement, work: () => Promise<void> | void): Promise<void> {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
