/** Numbers of the configuration file that stand in several of its parts. */
import { z } from "zod";
import { MAX_WEIGHT } from "./limits.ts";

export const port = z.int().min(1).max(65_535);
export const weight = z.int().min(0).max(MAX_WEIGHT);
export const milliseconds = (least: number, most: number, standard: number) =>
  z.int().min(least).max(most).default(standard);
export const percent = (least: number, most: number, standard: number) =>
  z.int().min(least).max(most).default(standard);
