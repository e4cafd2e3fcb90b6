// SPDX-License-Identifier: GPL-3.0-or-later
// A Flamenco job type: all captures in a folder. docs/farm.md says how to install it.

const JOB_TYPE = {
  label: "SAM2 Splat: Many Captures",
  description: "Do all jobs (*.s2s.json) in a folder and in its subfolders, each as tasks of its own.",
  settings: [
    { key: "folder", type: "string", subtype: "dir_path", visible: "submission",
      description: "The folder of the jobs. It lies on the shared storage" },
    { key: "command", type: "string", required: true, default: "sam2-splat",
      description: "The command on the workers, or a variable of Flamenco such as {sam2splat}" },
    { key: "task_type", type: "string", required: true, default: "blender",
      description: "Workers with this task type do the work" },

    // A job type can't read folders, but Blender can. Names are relative to the folder, since Flamenco only
    // replaces the beginning of a path by that of another system. Whoever submits without Blender gives both.
    { key: "folder_path", type: "string", required: true, visible: "web",
      eval: "str(abspath(settings.folder)) if settings.folder else ''",
      description: "The whole path of the folder" },
    { key: "jobs", type: "string", required: true, visible: "web",
      eval: "(lambda json, root: json.dumps(sorted(p.relative_to(root).as_posix() for p in root.rglob('*')"
        + " if p.name.casefold().endswith('.s2s.json')) if root else []))"
        + "(__import__('json'), abspath(settings.folder) if settings.folder else None)",
      description: "The jobs in the folder, as a list in JSON" },
  ],
};

function compileJob(job) {
  const settings = job.settings;
  const folder = (settings.folder_path || "").replace(/[\\/]+$/, "");
  const names = JSON.parse(settings.jobs || "[]");
  if (!settings.folder_path || names.length === 0) {
    throw new Error("Choose a folder of jobs. Export Job in Blender writes them: names end in .s2s.json");
  }
  for (const name of names) {
    const check = splatTask(settings, "check", folder, name, []);
    const run = splatTask(settings, "run", folder, name, ["--allow-damaged", "--once"]);
    // What is wrong with a job shows in seconds, and its run does not begin. Others go on.
    run.addDependency(check);
    job.addTask(check);
    job.addTask(run);
  }
}

function splatTask(settings, verb, folder, name, options) {
  const task = author.Task(verb + " " + name, settings.task_type);
  const path = folder + "/" + name;
  task.addCommand(author.Command("exec", { exe: settings.command, args: [verb, path, ...options] }));
  return task;
}
