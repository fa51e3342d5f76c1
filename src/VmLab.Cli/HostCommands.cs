using VmLab.Hosting;

namespace VmLab.Cli;

/// <summary><c>vmlab host</c> and <c>vmlab migrate</c>: machines that move between processes.</summary>
static class HostCommands
{
    /// <summary>Takes machines in, and runs them until Ctrl-C.</summary>
    public static int Listen(string address, string keyFile, ByteSize memory, Engine engine)
    {
        using var interruption = new Interruption();
        var writing = new Lock();
        Rehearsal.Run();
        using var server = new HostServer(Host.ParseAddress(address), Host.ReadKey(keyFile), memory, Tell, engine);
        Tell($"tcp://{server.Address.Host}:{server.Address.Port} takes machines in, {memory} in all; Ctrl-C ends it and them");
        interruption.Stop.WaitHandle.WaitOne();
        return ExitCode.Interrupted;

        void Tell(string what)
        {
            lock (writing) Console.WriteLine(what);
        }
    }

    /// <summary>Has a host send one of its machines to another.</summary>
    public static int Migrate(string machine, string from, string to, string keyFile, Migration plan)
    {
        MigrationReport report = HostServer.Migrate(Host.At(from, keyFile), machine, to, plan);
        Console.WriteLine(report);
        return report.Outcome == MigrationOutcome.Completed ? ExitCode.Passed : ExitCode.Failed;
    }
}
