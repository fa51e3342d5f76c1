using System.Globalization;

namespace VmLab.Tests.Debian;

/// <summary>What an unmodified Debian sees of faults of its clock.</summary>
public sealed class ClockFaultTests
{
    readonly DebianMoment _debian = new(DebianKernel.Cloud);

    [OneTimeTearDown]
    public void Close() => _debian.Dispose();

    [Test]
    public void Clock_that_jumps_is_seen_by_the_guests_clocks() => _debian.Fork(async (lab, vm) =>
    {
        double before = await Uptime(vm);
        lab.Inject(Fault.Clock(DebianMoment.Alice).Jump(100.Seconds));

        Assert.That(await Uptime(vm) - before, Is.InRange(100, 101));
    });

    [Test]
    public void Clock_that_drifts_is_seen_against_lab_time() => _debian.Fork(async (lab, vm) =>
    {
        lab.Inject(Fault.Clock(DebianMoment.Alice).Drift(partsPerMillion: 500_000));
        TimeSpan start = lab.Now;

        await vm.Shell("sleep 3");

        Assert.That((lab.Now - start).TotalSeconds, Is.EqualTo(2).Within(0.1));
    });

    [Test]
    public void Lost_ticks_leave_a_sleeper_asleep() => _debian.Fork(async (lab, vm) =>
    {
        TimeSpan start = lab.Now;
        await vm.Shell("sleep 0.5");
        TimeSpan undisturbed = lab.Now - start;
        Task<ShellResult> sleep = vm.Shell("sleep 0.5");
        lab.Inject(Fault.Clock(DebianMoment.Alice).LostTicks(10_000));

        await lab.RunFor(4 * undisturbed);

        Assert.That(sleep.IsCompleted, Is.False);
    });

    static async Task<double> Uptime(Vm vm) => double.Parse(
        (await vm.Shell("cut -d' ' -f1 /proc/uptime")).Output, CultureInfo.InvariantCulture);
}
