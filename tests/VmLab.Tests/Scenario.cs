using VmLab.Core;

namespace VmLab.Tests;

/// <summary>Runs a script against machines that do as told.</summary>
static class Scenario
{
    public static readonly VmRef Alice = new("alice"), Bob = new("bob");

    public static Fleet One(Action<ScriptedMachine> alice) => Fleet.Define("one").Seed(7)
        .Vm("alice", vm => vm.Boot(new ScriptedGuest(alice)).Memory(1.MiB));

    public static Fleet Two(Action<ScriptedMachine> alice, Action<ScriptedMachine> bob) =>
        One(alice).Vm("bob", vm => vm.Boot(new ScriptedGuest(bob)).Memory(1.MiB));

    /// <summary>One machine whose guest serves the command channel.</summary>
    public static Fleet OneWithAgent(Action<ScriptedMachine, ScriptedAgent> alice) => Fleet.Define("one").Seed(7)
        .Vm("alice", vm => vm.Memory(1.MiB)
            .Boot(new ScriptedGuest(machine => alice(machine, new ScriptedAgent(machine)), Readiness.Channel)));

    public static void Run(Fleet fleet, Func<Lab, Task> script, LabOptions? options = null) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(fleet, null, ScriptedMachine.PowerOn);
        await script(lab);
    }, options ?? new LabOptions());
}
