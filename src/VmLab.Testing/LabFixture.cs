using NUnit.Framework;

namespace VmLab.Testing;

/// <summary>A class of lab tests. Its labs are closed after each test.</summary>
public abstract class LabFixture
{
    readonly List<Lab> _labs = [];

    /// <summary>Starts a lab that lives as long as the test.</summary>
    protected async Task<Lab> Start(Fleet fleet, LabOptions? options = null)
    {
        Lab lab = await Lab.StartAsync(fleet, options);
        _labs.Add(lab);
        return lab;
    }

    /// <summary>Grows a lab from a moment; it lives as long as the test.</summary>
    protected async Task<Lab> Fork(Moment moment, LabOptions? options = null)
    {
        Lab lab = await Lab.StartAsync(moment, options);
        _labs.Add(lab);
        return lab;
    }

    [TearDown]
    public async Task CloseLabs()
    {
        foreach (Lab lab in _labs) await lab.DisposeAsync();
        _labs.Clear();
    }
}
