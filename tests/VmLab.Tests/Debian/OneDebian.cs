namespace VmLab.Tests.Debian;

/// <summary>Runs a script against one stock Debian machine that is up.</summary>
static class OneDebian
{
    public static void Run(Guest guest, ByteSize memory, Func<Vm, Task> script, ulong seed = 5) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(
            Fleet.Define("debian").Seed(seed).Vm("alice", vm => vm.Boot(guest).Memory(memory)));
        await lab.Boot();
        await script(lab["alice"]);
    });
}
