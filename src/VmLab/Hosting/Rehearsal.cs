using System.Net;
using VmLab.Machines;
using VmLab.Migrating;

namespace VmLab.Hosting;

/// <summary>Moves a tiny machine from this process to itself and back, so that all code of a migration has been compiled by the runtime
/// before a machine stands still that matters.</summary>
public static class Rehearsal
{
    public static void Run()
    {
        byte[] key = HostConnection.DrawBytes(Host.LeastKey);
        using var server = new HostServer(new DnsEndPoint("127.0.0.1", 0), key, 64.MiB, _ => { });
        var host = new Host(server.Address, key);
        Pump.Run(async () =>
        {
            foreach (Migration plan in (Migration[])[Migration.PreCopy(1.Seconds), Migration.PostCopy(1.Seconds)])
            {
                string name = plan.Mode.ToString();
                await using Lab lab = await Lab.StartAsync(FleetOf(name));
                await lab.RunFor(1.Milliseconds);
                await lab.Migrate(new VmRef(name), host, plan);
            }
        }, new LabOptions());
    }

    // With a device of each kind: each has records of its own.
    static Fleet FleetOf(string name) => Fleet.Define("rehearsal").Vm(name, vm => vm.Memory(4.MiB)
        .Boot(Guest.Program(asm =>
        {
            asm.mov(Iced.Intel.AssemblerRegisters.rdi, 0x20_0000);
            var again = asm.CreateLabel();
            asm.Label(ref again);
            asm.inc(Iced.Intel.AssemblerRegisters.__qword_ptr[Iced.Intel.AssemblerRegisters.rdi]);
            asm.jmp(again);
        }))
        .Disk("disk", 1.MiB).Nic(new MacAddress(0x5254_0000_0001)).With(new EntropySpec()).With(new ConsoleSpec()).With(new BalloonSpec()));
}
