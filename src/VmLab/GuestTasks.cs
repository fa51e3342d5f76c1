using System.Collections;
using System.Globalization;
using System.Text;
using VmLab.Introspection;

namespace VmLab;

/// <summary>The tasks of a guest at an instant, process by process from the oldest, threads behind their process.</summary>
public sealed class GuestTasks : IReadOnlyList<GuestTask>
{
    readonly Vm _vm;
    readonly List<GuestTask> _tasks;

    internal GuestTasks(Vm vm, IEnumerable<KernelTask> tasks)
    {
        _vm = vm;
        _tasks = [.. tasks.Select(task => new GuestTask(vm, task))];
    }

    public int Count => _tasks.Count;

    public GuestTask this[int index] => _tasks[index];

    /// <summary>The oldest task of a name.</summary>
    /// <exception cref="LabException">There is none.</exception>
    public GuestTask this[string name] => _tasks.Find(task => task.Name == name) ?? throw new LabException(
        $"{_vm.Name} has no task \"{name}\"; it has {string.Join(", ", _tasks.Select(task => task.Name).Distinct())}.");

    /// <exception cref="LabException">There is no such task.</exception>
    public GuestTask ByPid(int pid) => _tasks.Find(task => task.Pid == pid) ?? throw new LabException($"{_vm.Name} has no task {pid}.");

    public IEnumerator<GuestTask> GetEnumerator() => _tasks.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>A table, a line a task, with the columns of ps.</summary>
    public override string ToString()
    {
        var table = new StringBuilder("  PID  PPID S NAME");
        foreach (GuestTask task in _tasks)
        {
            string name = task.IsKernelThread ? $"[{task.Name}]" : task.Name;
            table.AppendLine().Append(CultureInfo.InvariantCulture, $"{task.Pid,5} {task.Parent,5} {task.State.Letter} {name}");
        }
        return table.ToString();
    }
}
