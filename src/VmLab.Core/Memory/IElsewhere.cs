namespace VmLab.Core;

/// <summary>Where pages of RAM are that have not come yet, after the machine itself has: post-copy.</summary>
public interface IElsewhere
{
    /// <summary>Whether somebody outside looks at memory now, which must not change what the machine will meet.</summary>
    bool IsLookedAt { get; }

    /// <summary>The machine touches a page that has not come: it is filled when this returns.</summary>
    void Fetch(uint page);

    /// <summary>The page's bytes, where they are: memory that does not move while pages are absent.</summary>
    ReadOnlySpan<byte> Look(uint page);
}
