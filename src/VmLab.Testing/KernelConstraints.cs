using NUnit.Framework;
using NUnit.Framework.Constraints;
using VmLab.Core;

namespace VmLab.Testing;

/// <summary>
/// Constraints on a guest's Linux kernel, looked into from outside:
/// <c>Assert.That(lab[vm], Has.Task("sh").And.No.KernelOops())</c>. They look once; to wait in guest time, use Eventually.
/// </summary>
public static class KernelConstraints
{
    extension(Has)
    {
        /// <summary>The kernel has a task of this name, which is at most 15 bytes long.</summary>
        public static KernelConstraint Task(string name) => HasTask(name);

        /// <summary>The kernel has loaded this module.</summary>
        public static KernelConstraint Module(string name) => HasModule(name);

        /// <summary>The kernel's log has this text somewhere.</summary>
        public static KernelConstraint KernelLog(string text) => HasKernelLog(Does.Contain(text));

        /// <summary>The kernel's log, as dmesg prints it, is as described.</summary>
        public static KernelConstraint KernelLog(IResolveConstraint text) => HasKernelLog(text);

        /// <summary>The kernel has oopsed or panicked since it was booted.</summary>
        public static KernelConstraint KernelOops() => HasKernelOops();
    }

    extension(ConstraintExpression expression)
    {
        /// <inheritdoc cref="Task(string)"/>
        public Constraint Task(string name) => expression.Append(HasTask(name));

        /// <inheritdoc cref="Module(string)"/>
        public Constraint Module(string name) => expression.Append(HasModule(name));

        /// <inheritdoc cref="KernelLog(string)"/>
        public Constraint KernelLog(string text) => expression.Append(HasKernelLog(Does.Contain(text)));

        /// <inheritdoc cref="KernelLog(IResolveConstraint)"/>
        public Constraint KernelLog(IResolveConstraint text) => expression.Append(HasKernelLog(text));

        /// <inheritdoc cref="KernelOops()"/>
        public Constraint KernelOops() => expression.Append(HasKernelOops());
    }

    static KernelConstraint HasTask(string name) => new($"a task \"{name}\"", vm =>
    {
        GuestTasks tasks = vm.Linux.Tasks;
        return (tasks.Any(task => task.Name == name), $"runs {Listed(tasks.Select(task => task.Name))}");
    });

    static KernelConstraint HasModule(string name) => new($"a module \"{name}\"", vm =>
    {
        string[] names = [.. vm.Linux.Modules.Select(module => module.Name)];
        return (names.Contains(name), $"has {Listed(names)}");
    });

    static KernelConstraint HasKernelLog(IResolveConstraint text)
    {
        IConstraint resolved = text.Resolve();
        return new($"a kernel log: {resolved.Description}", vm => (resolved.ApplyTo(vm.Linux.KernelLog.Text).IsSuccess, $"logged last{Tail(vm)}"));
    }

    static KernelConstraint HasKernelOops() => new("a kernel that oopsed or panicked", vm =>
        vm.Linux.Panicked ? (true, $"has panicked; it logged last{Tail(vm)}")
        : vm.Linux.Oopsed ? (true, $"has oopsed; it logged last{Tail(vm)}")
        : (false, "has done neither"));

    static string Listed(IEnumerable<string> names) => string.Join(", ", names.Distinct()) is { Length: > 0 } list ? list : "none";

    static string Tail(Vm vm)
    {
        const int ShownRecords = 20;
        return string.Concat(vm.Linux.KernelLog.TakeLast(ShownRecords).Select(entry => $"\n      | {entry}"));
    }
}

/// <summary>Succeeds when a guest's kernel is as described.</summary>
/// <param name="look">Says whether it is, and what it saw, for the message of a failure.</param>
public sealed class KernelConstraint(string description, Func<Vm, (bool Holds, string Seen)> look) : Constraint
{
    public override string Description => description;

    /// <param name="actual">A machine.</param>
    public override ConstraintResult ApplyTo<TActual>(TActual actual)
    {
        var vm = Require.Type<Vm>(actual);
        var (holds, seen) = look(vm);
        return new ConstraintResult(this, new Sight($"{vm.Name}, which at {vm.Now.TotalSeconds:0.000000} s {seen}"), holds);
    }

    /// <summary>Stands for the machine in messages: of an opposite, too, NUnit prints the value that was looked at.</summary>
    sealed class Sight(string text)
    {
        public override string ToString() => text;
    }
}
