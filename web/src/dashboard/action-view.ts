/** One row of the actions panel: a resolution's action, joined with who decided it and what the atlas says of it. */

import type { ActionExplanation, AllowedAction, Json } from "../model.js";
import type { AtlasBook, KnownAction } from "./atlas-book.js";
import type { Resolved } from "./goal-panel.js";

export type Verdict = "allowed" | "approval" | "denied";

export interface ActionView {
  readonly actionId: string;
  readonly name: string;
  readonly description: string;
  readonly riskTier: string;
  readonly verdict: Verdict;
  readonly policyId: string;
  readonly policyName: string | null;
  readonly policyType: string | null;
  readonly reason: string | null;
  readonly parametersSchema: Json;
}

/** Every action of the resolution, in the order in which the runtime explains them (the manifest's). */
export function actionViews(resolved: Resolved, book: AtlasBook): readonly ActionView[] {
  const { allowed_actions, denied_actions } = resolved.resolution;
  const allowed = new Map(allowed_actions.map((action) => [action.action_id, action]));
  const denied = new Map(denied_actions.map((action) => [action.action_id, action]));
  return resolved.explanations.map((explanation) => {
    const denial = denied.get(explanation.action_id);
    const action = allowed.get(explanation.action_id);
    return {
      ...describe(explanation.action_id, action, book.find(explanation.action_id)),
      verdict: action ? "allowed" : verdictOfDenied(explanation, denial?.reason),
      policyId: denial?.policy_id ?? explanation.policy_id,
      policyName: explanation.policy_name,
      policyType: explanation.policy_type,
      reason: denial?.reason ?? explanation.reason,
    };
  });
}

type Description = Pick<ActionView, "actionId" | "name" | "description" | "riskTier" | "parametersSchema">;

/** What an action is called and wants: from the resolution where it is allowed, else from the atlas. */
function describe(actionId: string, allowed: AllowedAction | undefined, known: KnownAction | undefined): Description {
  if (allowed !== undefined) {
    const { name, description, risk_tier, parameters_schema } = allowed;
    return { actionId, name, description, riskTier: risk_tier, parametersSchema: parameters_schema };
  }
  return known ?? { actionId, name: actionId, description: "", riskTier: "", parametersSchema: null };
}

/** `requires_approval` is the protocol's reason for an action that only an approval keeps back. */
function verdictOfDenied(explanation: ActionExplanation, reason: string | undefined): Verdict {
  return reason === "requires_approval" || explanation.policy_type === "require_approval" ? "approval" : "denied";
}
