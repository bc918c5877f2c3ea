/**
 * What the page itself remembers of loaded atlases: names, examples and result shapes, which no resolution carries
 * (a denied action is only an id there). The runtime has judged the atlas before it gets here, so this only reads.
 */

import type { Json, JsonObject } from "../model.js";
import { isObject, sampleOf } from "./sample.js";

export interface ActionExample {
  readonly name: string;
  readonly parameters: JsonObject;
  readonly expectedResult: Json | undefined;
}

export interface KnownAction {
  readonly actionId: string;
  readonly name: string;
  readonly description: string;
  readonly riskTier: string;
  readonly parametersSchema: Json;
  readonly returnsSchema: Json;
  readonly examples: readonly ActionExample[];
}

export interface KnownAtlas {
  readonly actions: readonly KnownAction[];
  /** The first goal that the author names as an example, where there is one. */
  readonly goal: string | undefined;
}

export class AtlasBook {
  readonly #byAtlas = new Map<string, readonly KnownAction[]>();

  /** How many atlases are loaded. */
  get size(): number {
    return this.#byAtlas.size;
  }

  /** Remember an atlas that the runtime loaded. */
  add(atlasId: string, document: JsonObject): KnownAtlas {
    const listed: unknown = document["actions"];
    const actions = Array.isArray(listed) ? listed.filter(isObject).map(knownAction) : [];
    this.#byAtlas.set(atlasId, actions);
    return { actions, goal: exampleGoal(document) };
  }

  /** Forget the atlas; returns the actions that went with it. */
  remove(atlasId: string): readonly KnownAction[] {
    const actions = this.#byAtlas.get(atlasId) ?? [];
    this.#byAtlas.delete(atlasId);
    return actions;
  }

  find(actionId: string): KnownAction | undefined {
    for (const actions of this.#byAtlas.values()) {
      const found = actions.find((action) => action.actionId === actionId);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** Parameters to start from: the atlas's first example, else what the schema suggests. */
export function startingParameters(action: KnownAction | undefined, schema: Json): JsonObject {
  const example = action?.examples[0];
  if (example !== undefined) return example.parameters;
  const sample = sampleOf(action?.parametersSchema ?? schema);
  return isObject(sample) ? sample : {};
}

/** What the simulated executor answers: the matching example's result, else one of the declared shape. */
export function simulatedResult(action: KnownAction, parameters: JsonObject): Json {
  const asked = JSON.stringify(parameters);
  const example = action.examples.find((each) => JSON.stringify(each.parameters) === asked) ?? action.examples[0];
  if (example?.expectedResult !== undefined) return example.expectedResult;
  if (isObject(action.returnsSchema)) return sampleOf(action.returnsSchema);
  return { simulated: true, parameters };
}

function knownAction(action: JsonObject): KnownAction {
  const examples = Array.isArray(action["examples"]) ? (action["examples"] as readonly unknown[]) : [];
  const actionId = textOf(action["action_id"]);
  return {
    actionId,
    name: textOf(action["name"]) || actionId,
    description: textOf(action["description"]),
    riskTier: textOf(action["risk_tier"]) || "low",
    parametersSchema: action["parameters_schema"] ?? null,
    returnsSchema: action["returns_schema"] ?? null,
    examples: examples.filter(isObject).map((example) => ({
      name: textOf(example["name"]),
      parameters: isObject(example["parameters"]) ? example["parameters"] : {},
      expectedResult: example["expected_result"],
    })),
  };
}

/** `metadata` is the author's own: nothing in it has been judged. */
function exampleGoal(document: JsonObject): string | undefined {
  const metadata: unknown = document["metadata"];
  const goals: unknown = isObject(metadata) ? metadata["example_goals"] : undefined;
  const first: unknown = Array.isArray(goals) ? goals[0] : undefined;
  const goal: unknown = isObject(first) ? first["goal"] : undefined;
  return typeof goal === "string" ? goal : undefined;
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}
