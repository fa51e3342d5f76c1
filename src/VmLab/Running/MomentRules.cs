using VmLab.Machines;

namespace VmLab.Running;

/// <summary>What holds of every moment of a lab, whatever its guests and its script do: for moments from files.</summary>
static class MomentRules
{
    /// <returns>The first rule that is broken, or <see langword="null"/>.</returns>
    public static string? Broken(LabMoment lab, Fleet fleet)
    {
        if (lab.Nanoseconds > long.MaxValue) return "its time is beyond the end of time";
        for (int i = 0; i < lab.Machines.Length; i++)
            if (Broken(lab.Machines[i], fleet.Machines[i].Name, lab.Nanoseconds) is { } rule) return $"{fleet.Machines[i].Name}: {rule}";
        for (int i = 0; i < lab.Links.Length; i++)
            foreach (ArmedLinkFault armed in lab.Links[i].Faults.Armed)
                if (armed.Fault.Network != fleet.Links[i].Name || !armed.Fault.IsSound || Math.Min(armed.DueAt, armed.LiftAt) < lab.Nanoseconds)
                    return $"{fleet.Links[i].Name}: no such fault could be armed";
        return null;
    }

    static string? Broken(VmMoment machine, string name, ulong now)
    {
        MachineClock clock = machine.Powered.Clock;
        ulong stoodAt = machine.PausedAt ?? now;
        if (!clock.IsSound || clock.LabBase > stoodAt || stoodAt > now) return "its clock shows no time";
        MachineState state = machine.Powered.Machine.State;
        if (state.Status == MachineStatus.Running && state.Now != clock.MachineAt(stoodAt)) return "it has not come to the time that its lab has";
        VmConsole.State console = machine.Console;
        if (console.LineStart < 0 || console.LineStart > console.Text.Length || console.Expected < 0 || console.Expected > console.Text.Length)
            return "its console has been read beyond its end";
        foreach (ArmedFault armed in machine.Faults.Armed)
            if (armed.Fault.Machine != name || !armed.Fault.IsSound) return "no such fault could be armed";
        return null;
    }
}
