using VmLab.Core;
using VmLab.Machines;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>What an unmodified Debian makes of errors of the hardware: its generic kernel; the cloud kernel is built without a handler.</summary>
public sealed class MachineCheckTests
{
    const ulong Address = 0x123_4000;

    readonly DebianMoment _generic = new(DebianKernel.Generic);

    [OneTimeTearDown]
    public void Close() => _generic.Dispose();

    [Test]
    public void Kernel_panics_at_an_uncorrected_error_and_says_what_the_bank_told() => _generic.Fork(async (lab, vm) =>
    {
        ShellResult result = await StruckWhileAsleep(lab, vm);

        Assert.That(result.Outcome, Is.EqualTo(ShellOutcome.Panicked));
        Assert.That(vm, Has.KernelLog("mce: [Hardware Error]: CPU 0: Machine Check Exception: 6 Bank 1: b600000000000135"));
        Assert.That(vm, Has.KernelLog("ADDR 1234000"));
        Assert.That(vm, Has.KernelLog("Kernel panic - not syncing: Fatal local machine check"));
        Assert.That(lab.Timeline.Select(entry => entry.What), Does.Contain("fault: machine check of bank 1 at 0x1234000"));
    });

    [Test]
    public void Kernel_finds_a_corrected_error_in_the_bank_and_lives() => _generic.Fork(async (lab, vm) =>
    {
        lab.Inject(Fault.Cpu(DebianMoment.Alice).CorrectedError(bank: 2, Address));

        await lab.RunFor(6.Minutes);

        Assert.That(vm, Has.KernelLog("mce: [Hardware Error]: Machine check events logged"));
        Assert.That(vm, Has.KernelLog("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 2: 9400000000000135"));
        Assert.That(vm, Has.KernelLog("ADDR 1234000").And.No.KernelOops());
    });

    [Test]
    public void Both_engines_come_to_the_same_panic() => Assert.That(Panic(Engine.Translator), Is.EqualTo(Panic(Engine.Interpreter)));

    [Test]
    public void Second_uncorrected_error_shuts_the_processor_down() => _generic.Fork(async (lab, vm) =>
    {
        vm.MayPanic();
        lab.Inject(Fault.Cpu(DebianMoment.Alice).MachineCheck());
        lab.Inject(Fault.Cpu(DebianMoment.Alice).MachineCheck(bank: 1));

        await lab.RunFor(1.Milliseconds);

        Assert.That(vm.Status, Is.EqualTo(MachineStatus.TripleFault));
    });

    [Test]
    public void Kernel_without_a_handler_is_shut_down() => OneDebian.Run(Guest.Debian(), 128.MiB, async vm =>
    {
        vm.Lab.Inject(Fault.Cpu(DebianMoment.Alice).MachineCheck());

        await vm.Lab.RunFor(1.Milliseconds);

        Assert.That(vm.Status, Is.EqualTo(MachineStatus.TripleFault));
        Assert.That(vm.Lab.Timeline.Select(entry => entry.What), Has.Some.EndWith("which nobody hears of: the processor shuts down"));
    });

    static async Task<ShellResult> StruckWhileAsleep(Lab lab, Vm vm)
    {
        vm.MayPanic();
        lab.Inject(Fault.Cpu(DebianMoment.Alice).MachineCheck(bank: 1, Address).At(lab.Now + 10.Milliseconds));
        return await vm.Shell("sleep 1");
    }

    string Panic(Engine engine)
    {
        string end = "";
        _generic.Fork(async (lab, vm) =>
        {
            await StruckWhileAsleep(lab, vm);
            end = $"{vm.StateHash:x16} at {lab.Now}";
        }, new LabOptions { Engine = engine });
        return end;
    }
}
