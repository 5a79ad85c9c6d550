// The task whose rewards are drawn or judged: chosen from those in the store, or typed.

import { h } from "./dom.js";
import { choice, choose } from "./session.js";

/** A field for the task; `onTask(task)` after a change. */
export function taskField(tasks, task, onTask) {
  const input = h("input", { id: "task", list: "tasks", value: task, size: 18, spellcheck: "false", maxlength: 200, onchange: () => {
    if (!input.value.trim()) return;
    choose("task", input.value.trim());
    onTask(input.value.trim());
  } });
  return h("label", { class: "field" }, "Task", input, h("datalist", { id: "tasks" }, tasks.map((t) => h("option", { value: t }))));
}

/** The task worked on last, else one that the store has. */
export const chosenTask = (tasks) => choice("task") || tasks[0] || "";
