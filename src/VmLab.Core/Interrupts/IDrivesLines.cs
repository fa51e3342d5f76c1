namespace VmLab.Core;

/// <summary>A device with output lines, whose levels are a function of its state.</summary>
public interface IDrivesLines
{
    /// <summary>
    /// Sets every output line to the level that the present state gives, without an edge. The machine calls it once
    /// all devices are restored.
    /// </summary>
    void RestoreLines();
}
