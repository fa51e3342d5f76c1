using VmLab.Scripting;

namespace VmLab.Cli;

/// <summary><c>vmlab run FILE.csx</c>.</summary>
static class RunCommand
{
    public static int Run(string script, IReadOnlyList<string> arguments, LabOptions options)
    {
        using var interruption = new Interruption();
        using IView view = Views.ForThisTerminal();
        Pump? pump = null;
        try
        {
            CompiledScript compiled = new ScriptHost(Tool.ScriptOptions).Load(script);
            pump = Pump.Open(options with { Stop = interruption.Stop, Observer = view });
            object? result = null;
            pump.Drive(async () => result = await compiled.RunAsync(new ScriptGlobals(arguments)));
            return result is int code ? code : ExitCode.Passed;
        }
        catch (OperationCanceledException) when (interruption.IsRequested)
        {
            view.Dispose();
            Console.Error.WriteLine($"Stopped by request.{Environment.NewLine}{pump?.Report()}");
            return ExitCode.Interrupted;
        }
        catch (OperationCanceledException) when (pump?.Labs.Any(lab => lab.IsKilledByGdb) is true)
        {
            view.Dispose();
            Console.Error.WriteLine($"Stopped by gdb.{Environment.NewLine}{pump.Report()}");
            return ExitCode.Interrupted;
        }
        catch (Exception failure)
        {
            view.Dispose();
            Failure.Tell(Console.Error, failure, script, pump?.Report() ?? "");
            return ExitCode.Of(failure);
        }
        finally
        {
            pump?.Close();
        }
    }
}
