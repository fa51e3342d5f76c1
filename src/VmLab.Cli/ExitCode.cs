namespace VmLab.Cli;

/// <summary>How the tool ends.</summary>
static class ExitCode
{
    public const int Passed = 0;

    /// <summary>An assertion failed, or a guest did not do what the script awaited.</summary>
    public const int Failed = 1;

    /// <summary>The script, the command line, or a file they name is wrong.</summary>
    public const int WrongInput = 2;

    /// <summary>The host or VmLab itself failed.</summary>
    public const int Infrastructure = 3;

    /// <summary>Ctrl-C or a request to terminate, as shells have it: 128 and the signal's number.</summary>
    public const int Interrupted = 130;

    public static int Of(Exception failure) => failure switch
    {
        _ when NUnitOutcome(failure) is { } outcome => outcome,
        GuestException => Failed,
        InfrastructureException or OutOfMemoryException => Infrastructure,
        LabException => WrongInput,
        _ => WrongInput,   // what a script throws and does not catch is the script's
    };

    public static bool IsAssertion(Exception failure) => NUnitOutcome(failure) is Failed;

    // By name, so that a script without assertions does not load NUnit.
    static int? NUnitOutcome(Exception failure) => failure.GetType().FullName switch
    {
        "NUnit.Framework.AssertionException" or "NUnit.Framework.MultipleAssertException" => Failed,
        "NUnit.Framework.SuccessException" or "NUnit.Framework.IgnoreException" or "NUnit.Framework.InconclusiveException" => Passed,
        _ => null,
    };
}
