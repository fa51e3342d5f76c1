using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Machines;
using VmLab.Machines.Migrating;
using VmLab.Running;

namespace VmLab.Migrating;

/// <summary>What a lab knows of a machine that goes to another process, beside the machine itself.</summary>
/// <param name="Seed">Of the lab.</param>
/// <param name="Nanoseconds">Guest time since the lab's start.</param>
[Schema("travelling-vm", version: 1)]
sealed record TravellingVm(
    ulong Seed, ulong Nanoseconds, MachineClock Clock, ulong RetiredBefore, bool IsHeavy, MachineFaults.Moment Faults, int PowerOns,
    MachineStatus LastStatus, ulong? PausedAt, bool HasPanicked, ulong CrashHook, VmConsole.State Console, CommandChannel.State? Channel)
{
    public static ImmutableArray<byte> Pack(Lab lab, VmMoment vm) => [.. MigrationCodec.Record(new TravellingVm(
        lab.Seed, lab.Nanoseconds, vm.Powered.Clock, vm.Powered.RetiredBefore, vm.Powered.IsHeavy, vm.Faults, vm.PowerOns, vm.LastStatus,
        vm.PausedAt, vm.HasPanicked, vm.CrashHook, vm.Console, vm.Channel))];

    /// <exception cref="LabException">It is none, or of another VmLab.</exception>
    public static LabMoment Unpack(ImmutableArray<byte> luggage, MachineMoment machine)
    {
        var vm = MigrationCodec.ReadRecord<TravellingVm>(luggage.AsMemory());
        return new LabMoment(vm.Seed, vm.Nanoseconds,
            [new VmMoment(new PoweredMachine.Moment(machine, vm.Clock, vm.RetiredBefore, vm.IsHeavy), vm.Faults, vm.PowerOns, vm.LastStatus,
                vm.PausedAt, vm.HasPanicked, vm.CrashHook, Host: null, vm.Console, vm.Channel)], []);
    }

    /// <summary>The fleet that the machine is alone in: without networks, and without what only the program that defined it has.</summary>
    public static Fleet FleetOf(Lab lab, Vm vm) => Fleet.Define(lab.Fleet.Name).Seed(lab.Fleet.RootSeed).With(vm.Spec.OnNoHost());
}
