using VmLab.Core;

namespace VmLab.Tests.Debian;

/// <summary>A Debian that was booted once, for the tests of a fixture to fork.</summary>
sealed class DebianMoment : IDisposable
{
    public static readonly VmRef Alice = new("alice");

    readonly Moment _moment;

    /// <param name="prepare">What is done in the guest before the moment.</param>
    public DebianMoment(DebianKernel kernel, string prepare = "true")
    {
        Moment? moment = null;
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(
                Fleet.Define("debian").Seed(5).Vm("alice", vm => vm.Boot(Guest.Debian(kernel: kernel)).Memory(256.MiB)));
            await lab.Boot();
            if (!(await lab[Alice].Shell(prepare)).Succeeded) throw new InvalidOperationException($"`{prepare}` failed.");
            moment = await lab.Snapshot("up");
        });
        _moment = moment!;
    }

    public void Fork(Func<Lab, Vm, Task> script, LabOptions? options = null) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(_moment);
        await script(lab, lab[Alice]);
    }, options);

    public void Dispose() => _moment.Dispose();
}
