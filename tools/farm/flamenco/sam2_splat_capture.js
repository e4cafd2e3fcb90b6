// SPDX-License-Identifier: GPL-3.0-or-later
// A Flamenco job type: one capture. docs/farm.md says how to install it.

const JOB_TYPE = {
  label: "SAM2 Splat: One Capture",
  description: "Do a job that Export Job in Blender has written.",
  settings: [
    { key: "job_file", type: "string", subtype: "file_path", visible: "submission",
      description: "The job, as Export Job in the Bake panel writes it. It lies on the shared storage" },
    { key: "command", type: "string", required: true, default: "sam2-splat",
      description: "The command on the workers, or a variable of Flamenco such as {sam2splat}" },
    { key: "task_type", type: "string", required: true, default: "blender",
      description: "Workers with this task type do the work" },

    // Blender knows what // stands for in a path. Whoever submits without Blender gives this one.
    { key: "job_path", type: "string", required: true, visible: "web",
      eval: "str(abspath(settings.job_file)) if settings.job_file else ''",
      description: "The whole path of the job" },
  ],
};

function compileJob(job) {
  const settings = job.settings;
  if (!/\.json$/i.test(settings.job_path || "")) {
    throw new Error("Choose a job file. Export Job in Blender writes one: its name ends in .s2s.json");
  }
  const check = splatTask(settings, "check", settings.job_path, []);
  const run = splatTask(settings, "run", settings.job_path, ["--allow-damaged", "--once"]);
  // What is wrong with the job shows in seconds, and no run begins.
  run.addDependency(check);
  job.addTask(check);
  job.addTask(run);
}

function splatTask(settings, verb, path, options) {
  const task = author.Task(verb, settings.task_type);
  task.addCommand(author.Command("exec", { exe: settings.command, args: [verb, path, ...options] }));
  return task;
}
